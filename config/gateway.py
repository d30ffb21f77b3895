"""The entry point of the inference service: `granian --interface asgi config.gateway:app`."""

import os
import uuid
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

# Applications can be imported only now.
from django.conf import settings  # noqa: E402

from evaluations.providers.configuration import destinations  # noqa: E402
from inference.calls import shadow_pairs  # noqa: E402
from inference.gateway.allowances import Allowances  # noqa: E402
from inference.gateway.answering import Answering  # noqa: E402
from inference.gateway.application import build_application  # noqa: E402
from inference.gateway.experiments.shadowing import Shadows  # noqa: E402
from inference.gateway.plan_cache import PlanCache  # noqa: E402
from inference.gateway.plan_reading import PlanReader  # noqa: E402
from inference.gateway.records.recording import save  # noqa: E402
from inference.gateway.records.spool import Drain, Spool  # noqa: E402
from inference.gateway.service import Gateway  # noqa: E402
from inference.gateway.tracing import Traces  # noqa: E402
from inference.gateway.upstream.chats import OpenChats  # noqa: E402
from registry.accounts import key_limits  # noqa: E402
from registry.delivery.fetch_recorder import Fetch, FetchRecorder  # noqa: E402
from registry.delivery.invalidation import Listener, connect  # noqa: E402
from registry.prompts.versions import renderer_pool  # noqa: E402

used_keys: "deque[Fetch]" = deque()
cache = PlanCache()
listener = Listener(cache, FetchRecorder(used_keys, connect))
cache.is_listening = listener.is_listening
spool = Spool(settings.SPOOL)
chats = OpenChats(destinations())
# The name of this process: usage of keys is recorded by process (registry.accounts.key_limits).
process = uuid.uuid4().hex
allowances = Allowances(partial(key_limits.usage_of_others, process=process))
answering = Answering(chats)
shadows = Shadows(answering, spool, process, partial(shadow_pairs.cost_of_others, process=process))
gateway = Gateway(PlanReader(cache, used_keys), allowances, answering, Traces(), spool, process, shadows)


@asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    """Listen, record and answer, until the process ends."""
    renderer_pool().warm()
    listener.current_until()
    drain = Drain(spool, save)
    drain.start()
    try:
        yield
    finally:
        gateway.close()
        await chats.close()
        drain.stop()
        listener.stop()


app = build_application(gateway, is_ready=listener.is_listening, lifespan=lifespan)
