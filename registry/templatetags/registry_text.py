"""Small pieces of text in templates."""

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from registry.identity import canonical_bytes

register = template.Library()


@register.filter
def short_hash(value: str) -> str:
    """The 12 digits that a reference needs: `sha256:9f2c41d07a1b`."""
    return value[: len("sha256:") + 12]


@register.filter
def as_json(value: Any) -> str:
    """A JSON value in one line; an absent one as a dash."""
    if value is None:
        return "–"
    return canonical_bytes({"": value}).decode()[4:-1]


@register.filter
def plain(value: Any) -> str:
    """A setting as one would say it: text without quotes, anything else as JSON."""
    return value if isinstance(value, str) else as_json(value)


@register.filter
def moment(when: datetime) -> SafeString:
    """How long ago, with the exact time on hover."""
    is_recent = timezone.now() - when < timedelta(minutes=1)
    shown = "just now" if is_recent else f"{timesince(when, depth=1)} ago"
    exact = f"{when:%Y-%m-%d %H:%M:%S} UTC"
    return format_html('<time datetime="{}" title="{}">{}</time>', when.isoformat(), exact, shown)


@register.filter
def marked(line: dict[str, Any]) -> SafeString:
    """A diff line's text with its differing ranges in <mark>."""
    text, position, parts = line["text"], 0, []
    for start, end in line["marks"]:
        parts += [(text[position:start],), (format_html("<mark>{}</mark>", text[start:end]),)]
        position = end
    return format_html_join("", "{}", [*parts, (text[position:],)])


@register.filter
def change_sign(change: str) -> str:
    return {"added": "+", "removed": "−"}.get(change, "")
