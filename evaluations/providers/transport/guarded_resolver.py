"""Name resolution for outbound calls: an address is checked again when a connection to it is made. Pure.

Beside evaluations.providers.outbound, which most processes import: only those that call models need aiohttp, and it
takes a tenth of a second of each start.
"""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from evaluations.providers.outbound import Destinations, is_public


class GuardedResolver(AbstractResolver):
    """Resolver that leaves out addresses that are not allowed."""

    def __init__(self, destinations: Destinations) -> None:
        self._destinations = destinations
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = await self._inner.resolve(host, port, family)
        if self._destinations.allows_private(host, port):
            return addresses
        public = [address for address in addresses if is_public(address["host"])]
        if not public:
            raise OSError(None, f"{host} is on a private network; the operator has not allowed it")
        return public

    async def close(self) -> None:
        await self._inner.close()
