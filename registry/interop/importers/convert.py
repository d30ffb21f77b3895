"""Conversion of other products' prompts to contents. Pure.

Each importer reads a document of one product and returns its prompts with their versions, oldest first. Features that
Cuebook does not have are left out with a note; a prompt that would behave differently is refused.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.errors import Problem
from core.references import MAX_PROMPT_NAME
from infra import yaml_values
from registry.interop.importers import IMPORTERS
from registry.interop.importers.draft import Draft, Importer, Include, Item, SourceVersion, as_plain, number_of
from registry.interop.importers.text import UNREADABLE

SOURCES = tuple(IMPORTERS)
MAX_VERSIONS = 200
# Below the limit on a request's body: the page sends a document again, with the names for its prompts.
MAX_CHARACTERS = 1024 * 1024


@dataclass(frozen=True)
class SourcePrompt:
    """A prompt of another product. `includes` are names there; `refusal` says why it cannot be imported."""

    source: str
    name: str
    versions: Sequence[SourceVersion] = ()
    tags: Sequence[str] = ()
    includes: frozenset[str] = frozenset()
    refusal: Problem | None = field(default=None, compare=False)


Names = Mapping[str, str]


def read_prompts(source: str, document: object, names: Names | None = None) -> list[SourcePrompt]:
    """Read the prompts of a document, such that each comes after those that it includes.

    `document` is JSON or YAML as text, or the JSON value itself; `names` maps the source's names of prompts to names
    here. Raises `exchange.unreadable`, or `request.invalid` for an unknown source.
    """
    if source not in IMPORTERS:
        raise Problem("request.invalid", f"Prompts can be imported from: {', '.join(IMPORTERS)}.")
    if isinstance(document, str):
        document = _parse(document)
    groups: dict[str, list[Item]] = {}
    for number, item in enumerate(_items(document, source), 1):
        if number > MAX_VERSIONS:
            raise Problem(UNREADABLE, f"At most {MAX_VERSIONS} versions can be imported at once.")
        groups.setdefault(IMPORTERS[source].name(item, number), []).append(item)
    if not groups:
        raise Problem(UNREADABLE, "There is no prompt in this document.")
    local_names = {name: (names or {}).get(name) or local_name(name) for name in groups}
    return _in_order([_prompt(source, name, items, local_names) for name, items in groups.items()])


def local_name(source_name: str) -> str:
    """Return a valid name for a prompt: lower case, folders as dots, anything else as a dash."""
    parts = (re.sub(r"[^a-z0-9_]+", "-", part).strip("-_") for part in re.split(r"[/.]+", source_name.lower()))
    name = ".".join(re.sub(r"([_-])[_-]+", r"\1", part) for part in parts if part)
    return name[:MAX_PROMPT_NAME].strip("._-") or "prompt"


def _parse(text: str) -> object:
    """Parse a document. JSON first: it is nearly YAML, and far faster to read."""
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
    """Yield each prompt, or version of one, in a document: the object itself, a list, or a list under a known name."""
    if isinstance(document, Mapping):
        listed = next((document[name] for name in IMPORTERS[source].lists if name in document), None)
        listed = [listed] if isinstance(listed, str) else listed
        document = listed if isinstance(listed, list) or IMPORTERS[source].must_list else [document]
    if not isinstance(document, list):
        raise Problem(UNREADABLE, f"This does not look like {IMPORTERS[source].looks_like}.")
    for item in document:
        if isinstance(item, str) and IMPORTERS[source].must_list:
            item = {"raw": item}
        if not isinstance(item, Mapping):
            raise Problem(UNREADABLE, f"This does not look like {IMPORTERS[source].looks_like}.")
        yield as_plain(item)


def _prompt(source: str, name: str, items: Sequence[Item], local_names: Names) -> SourcePrompt:
    prompt = SourcePrompt(name, local_names[name])
    same_named = [other for other, local in local_names.items() if local == local_names[name]]
    if len(same_named) > 1:
        sentence = (
            f"{' and '.join(same_named[:3])} would all be named {local_names[name]} here; give each its own name."
        )
        return replace(prompt, refusal=Problem("prompt.name_taken", sentence))
    includes: set[str] = set()

    def include(included: str, selector: str, value: str) -> str:
        includes.add(included)
        return f"{local_names.get(included) or local_name(included)}@latest"

    try:
        versions = [_version(IMPORTERS[source], item, include) for item in _by_number(items)]
    except Problem as problem:
        return replace(prompt, refusal=problem)
    tags: list[object] = next((item["tags"] for item in reversed(items) if isinstance(item.get("tags"), list)), [])
    return replace(
        prompt,
        versions=versions,
        tags=[tag for tag in tags if isinstance(tag, str)],
        includes=frozenset(includes),
    )


def _by_number(items: Sequence[Item]) -> Sequence[Item]:
    """Sort versions oldest first, where each has a number."""
    numbers = [number_of(item) for item in items]
    if None in numbers:
        return items
    return [item for _, item in sorted(zip(numbers, items, strict=True), key=lambda pair: pair[0] or 0)]


def _in_order(prompts: list[SourcePrompt]) -> list[SourcePrompt]:
    """Order prompts after those that they include; a cycle comes last, and is refused when it is committed."""
    ordered: list[SourcePrompt] = []
    waiting = prompts
    while waiting:
        names = {prompt.source for prompt in waiting}
        ready = [prompt for prompt in waiting if not prompt.includes & (names - {prompt.source})] or waiting
        ordered += ready
        waiting = [prompt for prompt in waiting if prompt not in ready]
    return ordered


def _version(importer: Importer, item: Item, include: Include) -> SourceVersion:
    draft = Draft(include if importer.has_includes else None)
    importer.read(item, draft)
    return draft.finish(item)
