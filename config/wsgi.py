"""The web entry point: answers that are ready, and Django behind them."""

import os
from collections import deque

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

django = get_wsgi_application()

# Applications can be imported only now.
from django.conf import settings  # noqa: E402

from registry.delivery.bulkhead import Bulkhead  # noqa: E402
from registry.delivery.fetch_recorder import Counting, Fetch  # noqa: E402
from registry.delivery.invalidation import Listener, connect  # noqa: E402
from registry.delivery.metrics import DeliveryMetrics  # noqa: E402
from registry.delivery.response_cache import Table  # noqa: E402
from registry.delivery.wsgi import Delivery  # noqa: E402
from registry.prompts.versions import renderers  # noqa: E402

fetched: "deque[Fetch]" = deque()
table = Table(settings.DELIVERY_CACHE_BYTES)
listener = Listener(table, Counting(fetched, connect))
behind = Bulkhead(django, places=settings.WEB_PLACES, waiting=2 * settings.WEB_PLACES)
application = Delivery(behind, table, told_at=listener.told_at, fetched=fetched)
listener.on_beat = DeliveryMetrics(application, table, is_told=listener.is_told).update

# The first one who writes should not wait for what the children import.
renderers().warm()
