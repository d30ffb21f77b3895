"""Small pieces of text in templates."""

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.timesince import timesince
from markdown_it import MarkdownIt

from core.references import HASH
from registry.content.content_hash import canonical_bytes

register = template.Library()
# No HTML, and no images: a page asks no other host for anything.
MARKDOWN = MarkdownIt("commonmark", {"html": False, "linkify": False}).disable("image")
# What is opened and not closed goes to the end: looking for its end again from every later opening would take minutes.
TEMPLATE_PART = re.compile(r"(\{\{.*?(?:\}\}|\Z)|\{%.*?(?:%\}|\Z)|\{#.*?(?:#\}|\Z))", re.DOTALL)
KINDS_OF_PART = {"{{": "t-var", "{%": "t-tag", "{#": "t-note"}


@register.filter
def short_hash(value: object) -> str:
    """The 12 digits that a reference needs: `sha256:9f2c41d07a1b`."""
    return str(value)[: len("sha256:") + 12]


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


@register.filter
def of(mapping: Mapping[Any, Any] | None, key: Any) -> Any:
    """A member of a mapping, by a name that is in a variable."""
    return (mapping or {}).get(key)


@register.filter
def folder(name: str) -> str:
    """What stands before the last dot of a prompt's name, with it: dots read as folders."""
    before, dot, _ = name.rpartition(".")
    return f"{before}{dot}"


@register.filter
def leaf(name: str) -> str:
    return name.rpartition(".")[2]


@register.filter
def markdown(text: str) -> SafeString:
    """Text with the usual marks as HTML; what would be HTML in it is shown as text."""
    html: SafeString = mark_safe(MARKDOWN.render(text))  # noqa: S308 - the renderer escapes all HTML
    return html


@register.filter
def template_marks(text: str) -> SafeString:
    """A template's text with its variables, tags and comments marked."""
    pieces = [
        (format_html('<span class="{}">{}</span>', KINDS_OF_PART[piece[:2]], piece),) if index % 2 else (piece,)
        for index, piece in enumerate(TEMPLATE_PART.split(text))
    ]
    return format_html_join("", "{}", pieces)


@register.filter
def dollars(amount: Any) -> str:
    """US dollars with as many places as matter: 0.15, 12.40, 0.0042, 0.000064."""
    value = float(amount)
    if value >= 0.1 or value == 0:
        return f"${value:,.2f}"
    return f"${value:.{1 - math.floor(math.log10(value))}f}" if value > 0 else f"-{dollars(-value)}"


@register.filter
def pretty_json(value: Any) -> str:
    """A JSON value as people read it."""
    return json.dumps(value, ensure_ascii=False, indent=2)


@register.filter
def grouped(number: int) -> str:
    """A number as people read it: 12,400."""
    return f"{number:,}"


@register.filter
def brief(value: Any) -> str:
    """A member's value in a comparison: a hash by its first digits, anything else as JSON."""
    if isinstance(value, str) and HASH.fullmatch(value):
        return short_hash(value)
    return as_json(value)
