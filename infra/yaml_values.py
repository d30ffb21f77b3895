"""Safe reading of untrusted YAML: no Python types, no depth that crashes the process, and no aliases that expand too
far. Pure."""

import re
from typing import Any

import yaml

from core.errors import Problem
from core.json_values import MAX_DEPTH

MAX_VALUES = 500_000
MAX_CHARACTERS = 16_000_000
# Of YAML 1.1, which PyYAML reads.
REPLACED_TAGS = frozenset({"bool", "int", "float", "timestamp"})


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # in C where it is there
    """YAML 1.2's core schema: `no`, `on`, `12:30` and `2026-01-31` are texts, and `010` is ten."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in REPLACED_TAGS]
    for first, resolvers in Loader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"), list("-+0123456789")
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
    list("-+.0123456789"),
)


def _int(loader: Any, node: Any) -> int:
    digits = str(loader.construct_scalar(node))
    if digits.startswith("0o"):
        return int(digits[2:], 8)
    return int(digits, 16) if digits.startswith("0x") else int(digits)


Loader.add_constructor("tag:yaml.org,2002:int", _int)
# Types that JSON does not have, where a file names them: a time or bytes are their text.
for kind in ("timestamp", "binary"):
    Loader.add_constructor(f"tag:yaml.org,2002:{kind}", Loader.construct_yaml_str)


def _refuse(_loader: Any, node: Any) -> None:
    raise ValueError(f"{node.tag.rpartition(':')[2]} is no type of JSON")


for kind in ("set", "omap", "pairs"):
    Loader.add_constructor(f"tag:yaml.org,2002:{kind}", _refuse)
LOADER = Loader


def is_read_as_text(text: str) -> bool:
    """Return whether a text without quotes is read as that text, and not as a number, a truth value or nothing."""
    resolvers = Loader.yaml_implicit_resolvers
    candidates = [*resolvers.get(text[:1], ()), *resolvers.get(None, ())]
    return not any(pattern.match(text) for _, pattern in candidates)


def load(text: str, code: str, *, max_values: int = MAX_VALUES) -> Any:
    """Load a document; a Problem with `code` where it is none, is nested deeper than JSON may be, or where its aliases
    expand to more than `max_values` values or MAX_CHARACTERS."""
    try:
        _check_depth(text, code)
        root = yaml.compose(text, Loader=LOADER)
        if root is not None:
            values, characters = _expanded_size(root, {})
            if values > max_values or characters > MAX_CHARACTERS:
                raise Problem(code, f"The file stands for more than {max_values:,} values, or very much text.")
        return yaml.load(text, Loader=LOADER)  # noqa: S506 - the safe loader, in C where it is there
    except Problem:
        raise
    # PyYAML raises whatever the constructors of its own types do: KeyError, AttributeError, ValueError.
    except Exception as error:
        raise Problem(code, f"The file cannot be read as YAML: {str(error)[:300]}") from None


def _check_depth(text: str, code: str) -> None:
    """Refuse deep nesting: composing a document recurses on the C stack, and its overflow would crash the process."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise Problem(code, f"The file is nested more than {MAX_DEPTH} levels.")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _expanded_size(node: Any, sizes: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return the number of values and characters of a node with all aliases expanded; a recursive node has too many."""
    if id(node) in sizes:
        return sizes[id(node)]
    sizes[id(node)] = (MAX_VALUES + 1, MAX_CHARACTERS + 1)
    if not isinstance(node.value, list):
        sizes[id(node)] = size = (1, len(node.value))
        return size
    parts = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
    part_sizes = [_expanded_size(part, sizes) for part in parts]
    sizes[id(node)] = size = (1 + sum(part[0] for part in part_sizes), sum(part[1] for part in part_sizes))
    return size
