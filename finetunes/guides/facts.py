"""Facts that guides and checklists rest on, as data. finetunes.presentation puts them into words and addresses."""

from dataclasses import dataclass

from finetunes.strategy.links import Link


@dataclass(frozen=True)
class Count:
    """A number of things; `noun` is in the singular."""

    number: int
    noun: str


@dataclass(frozen=True)
class Fact:
    """Something that a step needs. `text` is a sentence, or what follows `count`; `link` is where it is done."""

    is_there: bool
    text: str
    link: Link | None = None
    count: Count | None = None
