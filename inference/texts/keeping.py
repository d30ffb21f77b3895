"""Which texts of calls are kept, and cleaning them before anything is written down."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from core.errors import Problem
from inference.texts.policy import KeptTexts
from registry.rendering.pool import RendererPool

logger = logging.getLogger(__name__)


def is_sampled(reference: str, policy: KeptTexts) -> bool:
    """Return whether this is one of the calls whose texts are kept: by its id, so that it stays so."""
    place = int.from_bytes(hashlib.sha256(reference.encode()).digest()[:4], "big") / 2**32
    return place < policy.share


def cleaned(
    texts: Sequence[Mapping[str, Any]], policy: KeptTexts, pool: RendererPool, *, owner: int
) -> list[dict[str, Any]]:
    """Return texts without what the policy and the server's own function (TEXT_REDACTION) take out of them. Raises what
    the limits raise, where patterns take too long: nothing is to be kept then."""
    values: list[dict[str, Any]] = pool.redact(list(texts), policy.presets, policy.patterns, owner=owner)
    if settings.TEXT_REDACTION:
        redact = import_string(settings.TEXT_REDACTION)
        try:
            values = [redact(value) for value in values]
        except Exception as error:
            logger.exception("texts.redaction_failed")
            raise Problem("text_policy.failed", "The server's own function for texts failed.") from error
    return values
