"""The web entry point."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()

# Applications can be imported only now.
from registry.versions import renderers  # noqa: E402

# The first one who writes should not wait for what the children import.
renderers().warm()
