"""Slots of a provider, shared by all workers: no more calls are in flight than it takes, however many runs call it.

Each caller has a row with its slots, renewed by a thread of its own. Slots are shared out by what each caller could use
(max-min fairness: D. Bertsekas and R. Gallager, "Data Networks", 1992, section 6.5.2); where there are more callers
than slots, they take turns. A caller whose share has shrunk keeps what is in flight, and the others wait for that. The
slots of a caller that has died are free again after a lease.
"""

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event, Thread

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.utils import timezone

from evaluations.models import Provider, ProviderSlots
from evaluations.providers.caller import Caller, Chat

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=30)
# The time that a caller keeps its slots while others have none.
TURN = timedelta(seconds=5)
RENEWAL_SECONDS = 0.5
# Calls that a caller told of so long ago are over; on a busy machine it renews late.
IN_FLIGHT_AGE = timedelta(seconds=5)
# A caller with calls and without a slot looks more often.
STARVED_SECONDS = 0.1


@dataclass(frozen=True)
class Claim:
    """A caller's slots, how many it could use, and since when it has had some, or has waited for some."""

    holder: uuid.UUID
    slots: int
    demand: int
    since: datetime


def share(total: int, claims: Sequence[Claim], now: datetime) -> dict[uuid.UUID, int]:
    """Share `total` slots out: everybody gets as many as they want or an equal part of what is left; where there are
    more callers than slots, those go first whose turn is not over, then who has waited longest."""
    demanding = [claim for claim in claims if claim.demand]

    def precedence(claim: Claim) -> tuple[int, datetime, uuid.UUID]:
        is_its_turn = claim.slots > 0 and now - claim.since < TURN
        return (0 if is_its_turn else 1 if claim.slots == 0 else 2, claim.since, claim.holder)

    demanding = sorted(demanding, key=precedence)[:total]
    allotted, left = dict.fromkeys((claim.holder for claim in claims), 0), total
    for position, claim in enumerate(sorted(demanding, key=lambda claim: claim.demand)):
        allotted[claim.holder] = min(claim.demand, left // (len(demanding) - position))
        left -= allotted[claim.holder]
    return allotted


def renew(
    provider: Provider, holder: uuid.UUID, *, demand: int, shrink: Callable[[int], int], in_flight: int = 0
) -> int:
    """Renew a caller's slots, and return how many it has from now on. `shrink` has the caller use no more than this,
    and returns how many of its calls are in flight then; `in_flight` is how many there are now."""
    with transaction.atomic():
        # NO KEY: new rows that refer to the provider do not wait for this.
        totals = Provider.objects.select_for_update(no_key=True).filter(pk=provider.pk)
        total = totals.values_list("max_concurrency", flat=True).first()
        if total is None:
            # It is not committed yet, so that nobody else can call it.
            return provider.max_concurrency
        now = timezone.now()
        ProviderSlots.objects.filter(provider=provider, renewed_at__lt=now - LEASE).exclude(pk=holder).delete()
        rows = {row.holder: row for row in ProviderSlots.objects.filter(provider=provider)}
        own = rows.setdefault(holder, ProviderSlots(holder=holder, provider=provider, slots=0, demand=0, since=now))
        if demand and not own.demand and not own.slots:
            # It begins to wait now; whoever has waited before goes first.
            own.since = now
        own.demand, own.in_flight = demand, in_flight
        claims = [Claim(row.holder, row.slots, row.demand, row.since) for row in rows.values()]
        taken = sum(row.slots for row in rows.values() if row.holder != holder)
        slots = min(share(total, claims, now)[holder], max(0, total - taken))
        # What is in flight above the share still takes its slots: they are not free for others.
        occupied = max(slots, shrink(slots))
        if (occupied > 0) != (own.slots > 0):
            own.since = now
        own.slots, own.renewed_at = occupied, now
        own.save()
    return slots


@contextmanager
def open_caller(
    provider: Provider, open_chat: Callable[[], AbstractAsyncContextManager[Chat]], *, most: int | None = None
) -> Iterator[Caller]:
    """Open a caller of a provider that has its share of the slots, and `most` of them at most."""
    demand = min(provider.max_concurrency, most or provider.max_concurrency)
    with Caller(open_chat, demand) as caller:
        caller.set_slots(0)
        ended = Event()
        thread = Thread(target=_renew_until, args=(provider, caller, demand, ended), name="slots", daemon=True)
        thread.start()
        try:
            yield caller
        finally:
            ended.set()
            caller.submitted.set()
            thread.join()


def _renew_until(provider: Provider, caller: Caller, most: int, ended: Event) -> None:
    """Renew a caller's slots until it is closed, on a connection of this thread's own."""
    holder, expires_at, is_first = uuid.uuid4(), timezone.now(), True
    try:
        while not ended.is_set():
            # At first nobody knows how many calls there will be.
            demand = most if is_first else min(most, caller.open)
            caller.submitted.clear()
            try:
                slots = renew(
                    provider,
                    holder,
                    demand=demand,
                    shrink=lambda most: caller.set_slots(min(most, caller.slots)),
                    in_flight=caller.in_flight,
                )
                expires_at, is_first = timezone.now() + LEASE, False
                caller.set_slots(slots)
                caller.set_in_flight_elsewhere(
                    _in_flight_elsewhere(provider, holder), of_at_most=provider.max_concurrency
                )
            except Exception as error:
                # Whatever it is: without this thread nobody would give the slots back, or wait for others in vain.
                logger.warning("slots.not_renewed provider=%s %r", provider.pk, error)
                connection.close()
                if timezone.now() > expires_at:
                    # Others have them by now.
                    caller.set_slots(0)
            if caller.slots == 0 and not caller.open:
                caller.submitted.wait(RENEWAL_SECONDS)
            else:
                ended.wait(RENEWAL_SECONDS if caller.slots else STARVED_SECONDS)
        _give_back(holder)
    finally:
        connection.close()


def _in_flight_elsewhere(provider: Provider, holder: uuid.UUID) -> int:
    """Return how many calls other callers have with the provider, as they told when they renewed their slots."""
    recent = timezone.now() - IN_FLIGHT_AGE
    others = ProviderSlots.objects.filter(provider=provider, renewed_at__gte=recent).exclude(pk=holder)
    return sum(others.values_list("in_flight", flat=True))


def _give_back(holder: uuid.UUID) -> None:
    try:
        ProviderSlots.objects.filter(pk=holder).delete()
    except (DatabaseError, InterfaceError) as error:
        # They are free when the lease is over.
        logger.warning("slots.not_given_back holder=%s %s", holder, error)
