"""Limits of sign-in: by name and address (django-axes), and by address alone, because trying one password with many
names would not be slowed by the first. Nobody elsewhere can lock a person out: the name alone is never closed.
"""

import logging
from datetime import timedelta
from typing import Any

from axes.backends import AxesStandaloneBackend
from axes.exceptions import AxesBackendPermissionDenied
from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Sum
from django.http import HttpRequest
from django.utils import timezone

logger = logging.getLogger(__name__)

# As many people may be mistaken behind one address (an office) within AXES_COOLOFF_TIME.
MAX_FAILURES_OF_ADDRESS = 50


class SignInLimits(AxesStandaloneBackend):  # type: ignore[misc]  # an untyped library
    """Refuses a sign-in before its password is looked at, where there were too many failures."""

    def authenticate(self, request: HttpRequest, username: str | None = None, **credentials: Any) -> None:
        address = request.META.get("REMOTE_ADDR", "") if request else ""
        try:
            super().authenticate(request, username=username, **credentials)
            if failures_of_address(address) >= MAX_FAILURES_OF_ADDRESS:
                request.axes_locked_out = True  # type: ignore[attr-defined]  # django-axes answers with its page
                raise AxesBackendPermissionDenied("Too many failed sign-ins from this address.")
        except AxesBackendPermissionDenied:
            # For operators: somebody tries passwords.
            logger.warning("sign_in.locked_out name=%r address=%s", username, address)
            raise


def failures_of_address(address: str) -> int:
    """Count the failed sign-ins from an address, whatever the names, within AXES_COOLOFF_TIME."""
    since = timezone.now() - timedelta(hours=settings.AXES_COOLOFF_TIME)
    attempts = AccessAttempt.objects.filter(ip_address=address, attempt_time__gte=since)
    count: int = attempts.aggregate(all=Sum("failures_since_start"))["all"] or 0
    return count
