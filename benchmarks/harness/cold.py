"""The web process as it is in use, but for one thing: the response cache takes each request for one of an address that
nobody has asked for."""

from collections.abc import Iterable
from itertools import count
from typing import Any

from config import wsgi
from registry.delivery.wsgi import Delivery

_numbers = count()


def _without_number(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return wsgi.limited({**environ, "QUERY_STRING": ""}, start_response)


_delivery = Delivery(_without_number, wsgi.cache, current_until=wsgi.listener.current_until, fetched=wsgi.fetched)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return _delivery({**environ, "QUERY_STRING": f"n={next(_numbers)}"}, start_response)
