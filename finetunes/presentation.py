"""Addresses and phrases for what finetunes.guides and finetunes.strategy return as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from finetunes.guides.checklist import ChecklistItem
from finetunes.guides.facts import Count, Fact
from finetunes.guides.steps import GuideStep
from finetunes.strategy.links import Link, link_from_dict


@dataclass(frozen=True)
class FactRow:
    """A fact in words, with the address where it is done."""

    is_there: bool
    text: str
    address: str


@dataclass(frozen=True)
class StepRow:
    """A step of a guide, its facts in words."""

    title: str
    about: str
    state: str
    is_done: bool
    facts: Sequence[FactRow]


@dataclass(frozen=True)
class ChecklistRow:
    """An item of the checklist, its fact in words."""

    title: str
    is_done: bool
    fact: str
    address: str


def address_of(link: Link | str | None, project_slug: str) -> str:
    """Return the address of a link in a project; empty where there is none."""
    if link is None or isinstance(link, str):
        return link or ""
    address = reverse(link.page, args=[project_slug, *link.arguments])
    return f"{address}?{urlencode(link.query, safe='@')}" if link.query else address


def count_phrase(count: Count) -> str:
    """Format a number with its noun: 1 monitor, 2 monitors."""
    return f"{count.number:,} {count.noun if count.number == 1 else f'{count.noun}s'}"


def fact_text(fact: Fact) -> str:
    """Write a fact as a sentence."""
    return f"{count_phrase(fact.count)}{fact.text}" if fact.count else fact.text


def step_rows(steps: Sequence[GuideStep], project_slug: str) -> list[StepRow]:
    """Prepare the steps of a guide for a page."""
    return [
        StepRow(
            step.title,
            step.about,
            step.state,
            step.is_done,
            [FactRow(fact.is_there, fact_text(fact), address_of(fact.link, project_slug)) for fact in step.facts],
        )
        for step in steps
    ]


def checklist_rows(items: Sequence[ChecklistItem], project_slug: str) -> list[ChecklistRow]:
    """Prepare the checklist for a page."""
    return [
        ChecklistRow(item.title, item.fact.is_there, fact_text(item.fact), address_of(item.fact.link, project_slug))
        for item in items
    ]


def inputs_with_addresses(inputs: Mapping[str, Mapping[str, Any]], project_slug: str) -> dict[str, Any]:
    """Return the stored inputs of a recommendation, each with its link as an address."""
    return {
        name: {**members, "link": address_of(link_from_dict(members.get("link", "")), project_slug)}
        for name, members in inputs.items()
    }
