"""YAML from strangers, read safely: no types of Python's, no depth that ends the process, and no aliases that unfold to
very much. Pure."""

from typing import Any

import yaml

from core.errors import Problem
from core.json_values import MAX_DEPTH

MAX_VALUES = 500_000
MAX_CHARACTERS = 16_000_000
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(text: str, code: str, *, most: int = MAX_VALUES) -> Any:
    """A document; a Problem with `code` where it is none, is nested deeper than JSON may be, or where its aliases
    unfold to more than `most` values or MAX_CHARACTERS."""
    try:
        _check_depth(text, code)
        root = yaml.compose(text, Loader=LOADER)
        if root is not None:
            values, characters = _unfolded(root, {})
            if values > most or characters > MAX_CHARACTERS:
                raise Problem(code, f"The file stands for more than {most:,} values, or very much text.")
        return yaml.load(text, Loader=LOADER)  # noqa: S506 - the safe loader, in C where it is there
    except Problem:
        raise
    # PyYAML raises whatever the constructors of its own types do: KeyError, AttributeError, ValueError.
    except Exception as error:
        raise Problem(code, f"The file cannot be read as YAML: {str(error)[:300]}") from None


def _check_depth(text: str, code: str) -> None:
    """Whoever composes a document goes down with it on the stack of C, whose end is the end of the process."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise Problem(code, f"The file is nested more than {MAX_DEPTH} levels.")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _unfolded(node: Any, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many values a node stands for with all its aliases written out, and how many characters; a node within itself
    stands for too many."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = (MAX_VALUES + 1, MAX_CHARACTERS + 1)
    if not isinstance(node.value, list):
        known[id(node)] = found = (1, len(node.value))
        return found
    parts = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
    sizes = [_unfolded(part, known) for part in parts]
    known[id(node)] = found = (1 + sum(size[0] for size in sizes), sum(size[1] for size in sizes))
    return found
