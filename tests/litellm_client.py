"""LiteLLM's SDK for tests: without the price list that it would fetch from the network when it is imported, and without
the event loops that it leaves open."""

import asyncio
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

litellm.telemetry = False


@contextmanager
def leaving_nothing_open() -> Iterator[None]:
    """Close what LiteLLM leaves open: another test would be told of it."""
    before = {id(loop) for loop in _loops()}
    yield
    for loop in _loops():
        if id(loop) not in before and not loop.is_running() and not loop.is_closed():
            loop.close()


def _loops() -> list[asyncio.AbstractEventLoop]:
    return [thing for thing in gc.get_objects() if issubclass(type(thing), asyncio.AbstractEventLoop)]


__all__ = ["leaving_nothing_open", "litellm"]
