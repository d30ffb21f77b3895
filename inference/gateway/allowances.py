"""What keys may still ask today: limits are checked before a call, without waiting for the database.

A process counts its own calls in memory, and reads what the other processes have recorded every few seconds. So with
several processes a limit is passed by at most what they ask in that time, and by calls that are on their way.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

from django.db import Error as DatabaseError
from psycopg_pool import PoolTimeout

from core.errors import Problem
from inference.gateway.plans import Caller
from registry.accounts.key_limits import DayUsage, seconds_to_tomorrow

logger = logging.getLogger(__name__)
REREAD_SECONDS = 3.0
# A process that sees many keys forgets those of other days.
MAX_KEYS = 10_000

# Reads what a key has asked on a day by all other processes; may block.
ReadOthers = Callable[[int, date], DayUsage]


@dataclass
class _Account:
    day: date
    own: DayUsage = field(default_factory=DayUsage)
    others: DayUsage = field(default_factory=DayUsage)
    read_at: float = float("-inf")
    reading: "asyncio.Task[None] | None" = None


class Allowances:
    """The accounts of keys, one a process, on its event loop."""

    def __init__(self, read_others: ReadOthers, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._read_others, self._now = read_others, now
        self._accounts: dict[int, _Account] = {}

    async def take(self, caller: Caller) -> None:
        """Count a request of a key; raises `gateway.limit_reached` where it has used up what it may ask today."""
        account = self._account(caller.key)
        if caller.limits:
            await self._reread(caller.key, account)
            if limit := (account.own + account.others).reached(caller.limits):
                seconds = int(seconds_to_tomorrow(self._now())) + 1
                sentence = f"The key has used up its {limit} of this day (UTC)."
                raise Problem("gateway.limit_reached", sentence, retry_after=seconds)
        account.own += DayUsage(requests=1)

    def add(self, key: int, tokens: int, dollars: Decimal) -> None:
        """Count what an answer has cost."""
        account = self._account(key)
        account.own += DayUsage(tokens=tokens, dollars=dollars)

    def _account(self, key: int) -> _Account:
        today = self._now().astimezone(UTC).date()
        account = self._accounts.get(key)
        if account is None or account.day != today:
            if len(self._accounts) >= MAX_KEYS:
                self._accounts = {name: each for name, each in self._accounts.items() if each.day == today}
            account = self._accounts[key] = _Account(today)
        return account

    async def _reread(self, key: int, account: _Account) -> None:
        """Read what others have asked where that is old; only the first call of a key waits for it."""
        now = asyncio.get_running_loop().time()
        if account.reading is None and now - account.read_at > REREAD_SECONDS:
            account.reading = asyncio.create_task(self._read(key, account))
        if account.reading is not None and account.read_at == float("-inf"):
            await asyncio.shield(account.reading)

    async def _read(self, key: int, account: _Account) -> None:
        try:
            account.others = await asyncio.to_thread(self._read_others, key, account.day)
        except (DatabaseError, PoolTimeout) as error:
            # Known tasks go on being served; what this process has counted still holds.
            logger.warning("gateway.usage_not_read %s", (str(error) or type(error).__name__).splitlines()[0])
        finally:
            account.read_at, account.reading = asyncio.get_running_loop().time(), None
