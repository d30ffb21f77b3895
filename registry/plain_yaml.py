"""YAML from strangers, read safely: no types of Python's, and no aliases that unfold to very much. Pure."""

from typing import Any

import yaml

from registry.problems import Problem

MAX_NODES = 500_000
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(text: str, code: str, *, most: int = MAX_NODES) -> Any:
    """A document; a Problem with `code` where it is none, or where its aliases unfold to more than `most` values."""
    try:
        root = yaml.compose(text, Loader=LOADER)
        if root is not None and _unfolded(root, {}) > most:
            raise Problem(code, f"The file stands for more than {most:,} values.")
        return yaml.load(text, Loader=LOADER)  # noqa: S506 - the safe loader, in C where it is there
    except Problem:
        raise
    # PyYAML raises whatever the constructors of its own types do: KeyError, AttributeError, ValueError.
    except Exception as error:
        raise Problem(code, f"The file cannot be read as YAML: {str(error)[:300]}") from None


def _unfolded(node: Any, known: dict[int, int]) -> int:
    """How many values a node stands for with all its aliases written out; a node within itself stands for too many."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = MAX_NODES + 1
    value = node.value if isinstance(node.value, list) else []
    parts = [part for item in value for part in (item if isinstance(item, tuple) else (item,))]
    known[id(node)] = size = 1 + sum(_unfolded(part, known) for part in parts)
    return size
