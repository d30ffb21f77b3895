"""The web entry point: answers that are ready, and Django behind them."""

import os
from collections import deque

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

django = get_wsgi_application()

# Applications can be imported only now.
from django.conf import settings  # noqa: E402
from prometheus_client import REGISTRY  # noqa: E402

from registry.delivery import Delivery, Table  # noqa: E402
from registry.delivery_metrics import DeliveryMetrics  # noqa: E402
from registry.listening import Listener  # noqa: E402
from registry.versions import renderers  # noqa: E402

counts: "deque[tuple[int, ...]]" = deque()
table = Table(settings.DELIVERY_CACHE_BYTES)
listener = Listener(table.forget, counts)
application = Delivery(django, table, is_told=listener.is_told, is_down=listener.is_down, counts=counts)
REGISTRY.register(DeliveryMetrics(application, table, is_told=listener.is_told))

# The first one who writes should not wait for what the children import.
renderers().warm()
