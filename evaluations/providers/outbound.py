"""Outbound requests on users' behalf: only to public servers, and to private ones that the operator allows. Pure.

An address is checked when it is written and again when a connection is made, on the IP addresses that the name resolves
to then: a name that meant a public server yesterday may mean our own network today.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlsplit

from core.errors import Fault, Problem

MAX_URL_LENGTH, MAX_SIGNED_URL_LENGTH = 500, 8_000
# The one query that a server needs with every request (Azure's); others may be keys.
API_VERSION = re.compile(r"(api-version=[A-Za-z0-9.-]{1,40})?")
# What Python counts as global and is not: translated for a local network (RFC 8215), site-local, IPv4 within IPv6 by
# the ways that were given up or are for protocols (RFC 4291, RFC 2765), addresses for protocols, and the one by which
# machines in Azure reach their host.
NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("64:ff9b:1::/48", "fec0::/10", "::/96", "::ffff:0:0:0/96"),
        *("192.0.0.0/24", "168.63.129.16/32"),
    )
)


class Destinations:
    """Servers that may be called. `private` has hosts (`localhost`) or hosts with a port (`10.0.0.5:8000`) that may be
    reached although they are not public, even without TLS."""

    def __init__(self, private: Iterable[str]) -> None:
        self._private = frozenset(entry.lower() for entry in private)

    def require(self, url: str, pointer: str = "/base_url") -> None:
        """Raise `provider.address` unless the address is allowed, as far as can be seen without resolving its name."""
        refusal = self._refusal(url)
        if refusal:
            raise Problem("provider.address", refusal, faults=[Fault(pointer, "address", refusal)])

    def upload_refusal(self, url: str) -> str:
        """Return why a file may not go to an address that a provider has named; empty where it may. Such an address is
        signed by its query."""
        return self._refusal(url, is_signed=True)

    def allows_private(self, host: str, port: int) -> bool:
        host = host.lower()
        return host in self._private or f"{host}:{port}" in self._private

    def is_private(self, url: str) -> bool:
        """Return whether an allowed address is one of the private ones."""
        parts = urlsplit(url)
        return self.allows_private(parts.hostname or "", parts.port or {"http": 80}.get(parts.scheme, 443))

    def _refusal(self, url: str, *, is_signed: bool = False) -> str:
        max_length = MAX_SIGNED_URL_LENGTH if is_signed else MAX_URL_LENGTH
        if len(url) > max_length or not url.isprintable() or " " in url:
            return f"An address has at most {max_length:,} characters, none of them white space."
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            return "This is not an address."
        if parts.scheme not in ("http", "https") or not host:
            return "Must start with https:// (http:// for hosts in PROVIDER_PRIVATE_HOSTS) and name a host."
        if not host.isascii():
            # Other scripts have full stops and digits that a client reads as ASCII; a name can be written in Punycode.
            return "Write the host in ASCII (a name in another script as xn--…)."
        has_query = not is_signed and not API_VERSION.fullmatch(parts.query)
        if parts.username or parts.password or parts.fragment or has_query:
            return "An address has no password, fragment or query (but ?api-version=…); a key has a field of its own."
        is_private = self.allows_private(host, port or {"http": 80, "https": 443}[parts.scheme])
        if parts.scheme == "http" and not is_private:
            return (
                "Must start with https://: over http anybody on the network can read the key. (PROVIDER_PRIVATE_HOSTS.)"
            )
        if not is_private and _is_private_literal(host):
            return f"{host} is not a public address. The operator can allow it: PROVIDER_PRIVATE_HOSTS."
        return ""


def _is_private_literal(host: str) -> bool:
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    # Every notation of an IPv4 address that a resolver understands: 127.1, 0x7f000001, 2130706433. Anything else may be
    # an IPv6 address, or a name, which is checked when it is resolved.
    with suppress(OSError, UnicodeError):
        return not is_public(socket.inet_ntoa(socket.inet_aton(host)))
    try:
        return not is_public(host.strip("[]"))
    except ValueError:
        return False


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if ip in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    if any(ip in network for network in NOT_PUBLIC):
        return False
    return ip.is_global and not ip.is_multicast
