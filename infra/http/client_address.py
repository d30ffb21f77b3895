"""The client's address behind proxies: limits of sign-in count by it, and a proxy's own would stand for everybody."""

import ipaddress
import re
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d+)?|([0-9.]+):\d+")


class ClientAddressMiddleware:
    """Puts the client's address into REMOTE_ADDR, where TRUSTED_PROXIES says how many proxies stand in front."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        address = forwarded_address(request.headers.get("X-Forwarded-For", ""), settings.TRUSTED_PROXIES)
        if address:
            request.META["REMOTE_ADDR"] = address
        return self.get_response(request)


def forwarded_address(header: str, trusted: int) -> str:
    """Return the address that the outermost of our proxies saw: each adds the one that it saw to the end, and what
    stands before those is the client's own word. Empty where there is none."""
    hops = [hop.strip() for hop in header.split(",")]
    if trusted < 1 or len(hops) < trusted:
        return ""
    # Some proxies add the port: 203.0.113.5:4711, [2001:db8::1]:4711.
    match = WITH_PORT.fullmatch(hops[-trusted])
    try:
        return str(ipaddress.ip_address(match[1] or match[2] if match else hops[-trusted]))
    except ValueError:
        return ""
