"""Rate limiter for a provider's requests and tokens per minute, shared by all workers.

Each provider's row has the time from which the next request may go, and the next token. A reservation moves that time
forward in one statement by as much as the requests need, and they may go from its old value (the generic cell rate
algorithm: ITU-T I.371). After a pause a few seconds' worth may go at once, and never more than the limit.
"""

from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Q
from django.utils import timezone

from evaluations.models import Provider

# The amount that may go at once after a pause.
BURST = timedelta(seconds=5)
RESERVE = """
UPDATE evaluations_provider SET
    next_request_at = CASE WHEN requests_per_minute IS NULL THEN next_request_at ELSE
        greatest(coalesce(next_request_at, now() - %(burst)s), now() - %(burst)s)
        + interval '1 minute' * %(requests)s / requests_per_minute END,
    next_token_at = CASE WHEN tokens_per_minute IS NULL THEN next_token_at ELSE
        greatest(coalesce(next_token_at, now() - %(burst)s), now() - %(burst)s)
        + interval '1 minute' * %(tokens)s / tokens_per_minute END
WHERE id = %(provider)s
RETURNING greatest(
    now(),
    next_request_at - interval '1 minute' * %(requests)s / requests_per_minute,
    next_token_at - interval '1 minute' * %(tokens)s / tokens_per_minute,
    blocked_until
)
"""


def is_limited(provider: Provider) -> bool:
    return provider.requests_per_minute is not None or provider.tokens_per_minute is not None


def reserve(provider: Provider, *, requests: int, tokens: int) -> datetime:
    """Reserve room for these requests; return when the first of them may go."""
    values: dict[str, int | timedelta] = {
        "provider": provider.pk,
        "requests": requests,
        "tokens": tokens,
        "burst": BURST,
    }
    with connection.cursor() as cursor:
        cursor.execute(RESERVE, values)  # type: ignore[arg-type]  # psycopg takes a timedelta; the stubs do not know
        (when,) = cursor.fetchone()
    starts_at: datetime = when
    return starts_at


def block(provider: Provider, until: datetime) -> None:
    """Block a provider until then for every worker; a longer block stays."""
    later = Q(blocked_until=None) | Q(blocked_until__lt=until)
    Provider.objects.filter(later, pk=provider.pk).update(blocked_until=until)


def blocked_until(provider: Provider) -> datetime | None:
    """Return the end of a provider's block; None where it may be called."""
    until = Provider.objects.filter(pk=provider.pk).values_list("blocked_until", flat=True).first()
    return until if until and until > timezone.now() else None
