"""Figures as pages show them: each is marked with `data-figure`, and a walk over pages compares them."""

from collections import defaultdict
from html.parser import HTMLParser
from typing import Any

from django.test import Client

from evaluations.templatetags.evaluations_text import amount
from registry.templatetags.registry_text import dollars

# The words that the places of a figure show, by its name and its place.
ShownFigures = dict[str, dict[str, set[str]]]


class PageFigures(HTMLParser):
    """The first word of each element with `data-figure`, by that name."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.by_name: dict[str, set[str]] = defaultdict(set)
        self._name = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._name = dict(attributes).get("data-figure") or self._name

    def handle_data(self, data: str) -> None:
        if self._name and data.strip():
            self.by_name[self._name].add(data.split()[0])
            self._name = ""


def figures_of_pages(client: Client, paths: list[str]) -> ShownFigures:
    """Open pages of the project `paper`; returns what each shows of each figure."""
    shown_on: ShownFigures = defaultdict(dict)
    for path in paths:
        page = client.get(f"/p/paper/{path}")
        assert page.status_code == 200, path
        for name, words in PageFigures(page.content.decode()).by_name.items():
            shown_on[name][path] = words
    return shown_on


def differing(shown_on: ShownFigures) -> ShownFigures:
    """Return the figures that are not the same wherever they are shown."""
    return {name: places for name, places in shown_on.items() if len(set().union(*places.values())) > 1}


def words_of(document: dict[str, Any]) -> dict[str, str]:
    """Write the figures of a run's document as pages do."""
    summary = document["summary"]
    words = {
        "quality": amount(summary["quality"]["value"]),
        "1,000 calls": dollars(1_000 * summary["cost_per_call_usd"]["value"]),
        "cost": dollars(float(document["cost_usd"])),
    }
    # A run that has all its answers from the cache measured no time.
    for name, figure in (("median", "p50"), ("p99", "p99")):
        if latency := summary["latency_ms"][figure]:
            words[name] = amount(latency["value"], "ms").split()[0]
    return words
