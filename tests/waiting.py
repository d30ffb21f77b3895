"""Waiting for what happens elsewhere."""

import time
from collections.abc import Callable
from typing import Any


def soon(is_so: Callable[[], Any], seconds: float = 10.0) -> bool:
    """Whether something comes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.01)
    return False
