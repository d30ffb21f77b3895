"""The web entry point: the response cache, behind it the direct fetch, and Django behind that."""

import os
from collections import deque

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

django = get_wsgi_application()

# Applications can be imported only now.
from django.conf import settings  # noqa: E402

from registry.api.direct_fetch import DirectFetch  # noqa: E402
from registry.delivery.bulkhead import Bulkhead  # noqa: E402
from registry.delivery.fetch_recorder import Fetch, FetchRecorder  # noqa: E402
from registry.delivery.invalidation import Listener, connect  # noqa: E402
from registry.delivery.metrics import DeliveryMetrics  # noqa: E402
from registry.delivery.response_cache import ResponseCache  # noqa: E402
from registry.delivery.wsgi import Delivery  # noqa: E402
from registry.prompts.versions import renderer_pool  # noqa: E402

fetched: "deque[Fetch]" = deque()
cache = ResponseCache(settings.DELIVERY_CACHE_BYTES)
listener = Listener(cache, FetchRecorder(fetched, connect))
limited = Bulkhead(DirectFetch(django), slots=settings.WEB_PLACES, waiting=2 * settings.WEB_PLACES)
application = Delivery(limited, cache, current_until=listener.current_until, fetched=fetched)
listener.on_heartbeat = DeliveryMetrics(application, cache, is_listening=listener.is_listening).update

# The first render should not wait for the children's imports.
renderer_pool().warm()
