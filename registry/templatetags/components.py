"""Parts of pages that are written as tags: a form field, the empty state of a page, and the colour of a state."""

from collections.abc import Mapping
from typing import Any

from django import template
from django.template.context import Context
from django.template.loader import render_to_string

register = template.Library()
# Colour means something: `live` is live or under way, then good, warn and bad; whatever else is `plain`.
STATE_TONES = {
    "applied": "live",
    "running": "live",
    "approved": "good",
    "done": "good",
    "succeeded": "good",
    "open": "warn",
    "attention": "warn",
    "stopped": "warn",
    "cancelled": "warn",
    "failed": "bad",
    "rejected": "bad",
}


@register.inclusion_tag("parts/_field.html", takes_context=True)
def field(context: Context, name: str, label: str, **options: Any) -> dict[str, Any]:
    """A form field with its label, hint and error; `value` and `error` are those of `values` and `errors` by its name.

    A password is never sent back.
    """
    values: Mapping[str, Any] = context.get("values") or {}
    errors: Mapping[str, str] = context.get("errors") or {}
    value = None if options.get("type") == "password" else values.get(name)
    return {"name": name, "label": label, "value": value, "error": errors.get(name), **options}


@register.simple_block_tag
def empty_state(content: str, title: str, action: str = "", address: str = "") -> str:
    """A page that has nothing on it yet: its purpose, in the words between the tags, and the first step."""
    context = {"title": title, "text": content, "action": action, "address": address}
    return render_to_string("parts/_empty.html", context)


@register.filter
def state_tone(state: str) -> str:
    """Return the class of the tag that shows a state of a promotion, of a work row or of a fine-tune job."""
    return STATE_TONES.get(state, "plain")
