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

from core.example_selection import DEFAULT_K
from core.image_data import UPLOADED, digest_of, uploaded_in
from core.references import HASH
from registry.content.content_hash import canonical_bytes
from registry.content.message_view import editor_sections, message_sections
from registry.models import Environment, Promotion, Prompt, Release, Review

register = template.Library()
# No HTML, and no images: a page asks no other host for anything.
MARKDOWN = MarkdownIt("commonmark", {"html": False, "linkify": False}).disable("image")
# A tag that is not closed matches to the end: searching for its end from every later opening would take minutes.
TEMPLATE_PART = re.compile(r"(\{\{.*?(?:\}\}|\Z)|\{%.*?(?:%\}|\Z)|\{#.*?(?:#\}|\Z))", re.DOTALL)
MAX_IMAGES_SHOWN = 4
KINDS_OF_PART = {"{{": "t-var", "{%": "t-tag", "{#": "t-note"}


@register.filter
def short_hash(value: object) -> str:
    """The 12 digits that a reference needs: `sha256:9f2c41d07a1b`."""
    return str(value)[: len("sha256:") + 12]


@register.filter
def short_reference(reference: str) -> str:
    """A reference with the 12 digits of its hash that are enough: `support.reply@sha256:9f2c41d07a1b`."""
    name, at, selector = reference.partition("@")
    return f"{name}{at}{short_hash(selector) if selector.startswith('sha256:') else selector}"


@register.filter
def prompt_name(reference: str) -> str:
    """The name of the prompt that a reference names."""
    return reference.partition("@")[0]


@register.filter
def as_json(value: Any) -> str:
    """A JSON value in one line; an absent one as a dash."""
    if value is None:
        return "–"
    return canonical_bytes({"": value}).decode()[4:-1]


@register.filter
def plain(value: Any) -> str:
    """A setting as a page shows it: text without quotes, anything else as JSON."""
    return value if isinstance(value, str) else as_json(value)


@register.filter
def image_hashes(value: Any) -> list[str]:
    """The hashes of the first uploaded images that a JSON value names, to show them."""
    return list(dict.fromkeys(digest_of(address) for address in uploaded_in(value)))[:MAX_IMAGES_SHOWN]


@register.filter
def without_hashes(text: str) -> str:
    """A text with the sizes of the uploaded images that it names, in place of their addresses."""
    return UPLOADED.sub(r"image \1×\2", text)


@register.filter
def moment(when: datetime) -> SafeString:
    """The time since, with the exact time on hover."""
    is_recent = timezone.now() - when < timedelta(minutes=1)
    ago = "just now" if is_recent else f"{timesince(when, depth=1)} ago"
    exact = f"{when:%Y-%m-%d %H:%M:%S} UTC"
    return format_html('<time datetime="{}" title="{}">{}</time>', when.isoformat(), exact, ago)


@register.filter
def highlighted(line: dict[str, Any]) -> SafeString:
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
def change_tone(change: str) -> str:
    """Return the class of the tag that shows how a message changed."""
    return {"added": "good", "removed": "bad", "same": "plain"}.get(change, "warn")


@register.filter("of")
def member_of(mapping: Mapping[Any, Any] | None, key: Any) -> Any:
    """A member of a mapping, by a name that is in a variable."""
    return (mapping or {}).get(key)


@register.filter
def folder(name: str) -> str:
    """The part of a prompt's name up to its last dot: dots read as folders."""
    before, dot, _ = name.rpartition(".")
    return f"{before}{dot}"


@register.filter
def leaf(name: str) -> str:
    return name.rpartition(".")[2]


REVIEW_WORDS = {
    "approve": "approved",
    "request-changes": "requested changes",
    "reject": "rejected",
    "comment": "commented",
}


@register.filter
def review_words(review: Review) -> str:
    """A reviewer's decision, as a verb after the name."""
    return REVIEW_WORDS[review.decision]


@register.filter
def selector_words(selector: str) -> str:
    """A selector as a choice in a menu."""
    if selector == "latest":
        return "the newest version"
    if selector.startswith("sha256:"):
        return f"this content, {short_hash(selector)}"
    return f"version {selector}" if selector[:1].isdigit() else f"live in {selector}"


@register.filter
def selection_words(selection: Mapping[str, Any]) -> str:
    """The examples of a set that a version picks (`examples` of its content)."""
    count = selection.get("k") or DEFAULT_K
    if selection.get("select") == "first":
        return f"the first {count}"
    if selection.get("select") == "similar":
        return f"the {count} nearest in meaning"
    if selection.get("select") == "balanced":
        return f"the {count} nearest, of each label at most {selection.get('per_label') or 1},"
    return "all"


MERGE_WORDS = {
    "conflict": "choose one",
    "merged": "both fit together",
    "theirs": "only theirs",
    "mine": "only yours",
}


@register.filter
def merge_words(state: str) -> str:
    """The merge's result for a part of a prompt."""
    return MERGE_WORDS.get(state, "the same change")


@register.filter
def folders(name: str) -> SafeString:
    """A prompt's name with its folders set off."""
    return format_html('<span class="folder">{}</span>{}', folder(name), leaf(name))


@register.filter
def next_order(order: str, key: str) -> str:
    """The order that a click on a column's heading leads to; nothing where the list is not sorted by that column."""
    return {key: f"-{key}", f"-{key}": key}.get(order, "")


@register.filter
def live_in(prompt: Prompt, environment: Environment) -> Release | None:
    """The release of a listed prompt that is live in an environment."""
    releases: list[Release] = prompt.live_releases  # type: ignore[attr-defined]  # prefetched by the listing
    return next((release for release in releases if release.environment_id == environment.pk), None)


@register.filter
def undecided_in(prompt: Prompt, environment: Environment) -> list[Promotion]:
    """The promotions of a listed prompt to an environment that are not decided."""
    promotions: list[Promotion] = prompt.undecided  # type: ignore[attr-defined]  # prefetched by the listing
    return [promotion for promotion in promotions if promotion.environment_id == environment.pk]


@register.filter
def production_checks(prompt: Prompt, checks: Mapping[int, Any]) -> Any:
    """The checks of the version of a listed prompt that is live in production, from the summaries by version."""
    releases: list[Release] = prompt.live_releases  # type: ignore[attr-defined]  # prefetched by the listing
    live = [release.version_id for release in releases if release.environment.name == "production"]
    return checks.get(live[0]) if live else None


@register.filter
def markdown(text: str) -> SafeString:
    """Text with the usual marks as HTML; what would be HTML in it is shown as text."""
    html: SafeString = mark_safe(MARKDOWN.render(text))  # noqa: S308 - the renderer escapes all HTML
    return html


register.filter(message_sections)
register.filter(editor_sections)


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
    """A JSON value, indented."""
    return json.dumps(value, ensure_ascii=False, indent=2)


@register.filter
def grouped(number: int) -> str:
    """A number with separators: 12,400."""
    return f"{number:,}"


@register.filter
def brief(value: Any) -> str:
    """A member's value in a comparison: a hash by its first digits, anything else as JSON."""
    if isinstance(value, str) and HASH.fullmatch(value):
        return short_hash(value)
    return as_json(value)


@register.filter
def chunk_name(chunk: Mapping[str, Any]) -> str:
    """Name a chunk that was retrieved: document, revision and place, as `refunds.md@2#1`."""
    return f"{chunk['source']}@{chunk['revision']}#{chunk['chunk']}"


@register.filter
def sentence(text: str) -> str:
    """Return what somebody wrote as a sentence: with a stop at its end."""
    return text if text[-1:] in ".!?…" else f"{text}."
