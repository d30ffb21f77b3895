"""Prompts of other products, as contents of ours. Pure.

Each reader takes a document of one product and gives its prompts with their versions, oldest first. What a product has
and Cuebook has not is left out with a sentence about it; what would make a prompt behave differently refuses it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.errors import Problem
from core.references import LONGEST_NAME
from infra import yaml_values
from registry.interop.importers.draft import Draft, ForeignVersion, Include, Item, as_plain, number_of
from registry.interop.importers.readers import READERS, Reader
from registry.interop.importers.text import UNREADABLE

SOURCES = tuple(READERS)
MOST_VERSIONS = 200
# Below the limit on a request's body: the page sends a document once more with the names for it.
MAX_CHARACTERS = 1024 * 1024


@dataclass(frozen=True)
class ForeignPrompt:
    """A prompt of another product. `includes` are names there; `refusal` says why it cannot come in."""

    source: str
    name: str
    versions: Sequence[ForeignVersion] = ()
    tags: Sequence[str] = ()
    includes: frozenset[str] = frozenset()
    refusal: Problem | None = field(default=None, compare=False)


Names = Mapping[str, str]


def read(source: str, document: object, names: Names | None = None) -> list[ForeignPrompt]:
    """The prompts of a document, such that each comes after those that it includes.

    `document` is JSON or YAML as text, or the JSON value itself; `names` says what prompts are to be called here, by
    what they are called there. Raises `exchange.unreadable`, or `request.invalid` for a source that is not known.
    """
    if source not in READERS:
        raise Problem("request.invalid", f"Prompts come in from: {', '.join(READERS)}.")
    if isinstance(document, str):
        document = _parsed(document)
    groups: dict[str, list[Item]] = {}
    for number, item in enumerate(_items(document, source), 1):
        if number > MOST_VERSIONS:
            raise Problem(UNREADABLE, f"Bring in at most {MOST_VERSIONS} versions at once.")
        groups.setdefault(READERS[source].name(item, number), []).append(item)
    if not groups:
        raise Problem(UNREADABLE, "There is no prompt in this document.")
    own = {name: (names or {}).get(name) or own_name(name) for name in groups}
    return _in_order([_prompt(source, name, items, own) for name, items in groups.items()])


def own_name(foreign: str) -> str:
    """What a prompt is called here: lower case, folders as dots, anything else as a dash."""
    parts = (re.sub(r"[^a-z0-9_]+", "-", part).strip("-_") for part in re.split(r"[/.]+", foreign.lower()))
    name = ".".join(re.sub(r"([_-])[_-]+", r"\1", part) for part in parts if part)
    return name[:LONGEST_NAME].strip("._-") or "prompt"


def _parsed(text: str) -> object:
    """A document's value. JSON first: it is nearly YAML, and far quicker to read."""
    if len(text) > MAX_CHARACTERS:
        raise Problem(UNREADABLE, f"A document has at most {MAX_CHARACTERS // 2**20} MB.")
    text = text.strip().removeprefix("\ufeff")
    if text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except RecursionError:
            raise Problem(UNREADABLE, "The document is nested too deeply.") from None
        except ValueError as error:
            fault = str(error)
            try:
                # JSON Lines: one object on each line.
                return [json.loads(line) for line in text.splitlines() if line.strip()]
            except (ValueError, RecursionError):
                raise Problem(UNREADABLE, f"The document is not JSON: {fault[:200]}.") from None
    return yaml_values.load(text, UNREADABLE)


def _items(document: object, source: str) -> Iterator[Item]:
    """Each prompt, or version of one, in a document: the object itself, a list, or a list under a well-known name."""
    if isinstance(document, Mapping):
        listed = next((document[name] for name in READERS[source].lists if name in document), None)
        listed = [listed] if isinstance(listed, str) else listed
        document = listed if isinstance(listed, list) or READERS[source].must_list else [document]
    if not isinstance(document, list):
        raise Problem(UNREADABLE, f"This does not look like {READERS[source].looks_like}.")
    for item in document:
        if isinstance(item, str) and READERS[source].must_list:
            item = {"raw": item}
        if not isinstance(item, Mapping):
            raise Problem(UNREADABLE, f"This does not look like {READERS[source].looks_like}.")
        yield as_plain(item)


def _prompt(source: str, name: str, items: Sequence[Item], own: Names) -> ForeignPrompt:
    made = ForeignPrompt(name, own[name])
    twins = [other for other, same in own.items() if same == own[name]]
    if len(twins) > 1:
        sentence = f"{' and '.join(twins[:3])} would all be called {own[name]} here; give each a name of its own."
        return replace(made, refusal=Problem("prompt.name_taken", sentence))
    includes: set[str] = set()

    def include(included: str, selector: str, value: str) -> str:
        includes.add(included)
        return f"{own.get(included) or own_name(included)}@latest"

    try:
        versions = [_version(READERS[source], item, include) for item in _by_number(items)]
    except Problem as problem:
        return replace(made, refusal=problem)
    tags: list[object] = next((item["tags"] for item in reversed(items) if isinstance(item.get("tags"), list)), [])
    return replace(
        made,
        versions=versions,
        tags=[tag for tag in tags if isinstance(tag, str)],
        includes=frozenset(includes),
    )


def _by_number(items: Sequence[Item]) -> Sequence[Item]:
    """Versions oldest first, where each says its number."""
    numbers = [number_of(item) for item in items]
    if None in numbers:
        return items
    return [item for _, item in sorted(zip(numbers, items, strict=True), key=lambda pair: pair[0] or 0)]


def _in_order(prompts: list[ForeignPrompt]) -> list[ForeignPrompt]:
    """Prompts after those that they include; a circle comes last, and is refused when it is committed."""
    ordered: list[ForeignPrompt] = []
    waiting = prompts
    while waiting:
        names = {one.source for one in waiting}
        ready = [one for one in waiting if not one.includes & (names - {one.source})] or waiting
        ordered += ready
        waiting = [one for one in waiting if one not in ready]
    return ordered


def _version(reader: Reader, item: Item, include: Include) -> ForeignVersion:
    draft = Draft(include if reader.includes else None)
    reader.version(item, draft)
    return draft.done(item)
