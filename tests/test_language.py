"""The words of the code base: docs/glossary.md says which to avoid, and names that say nothing are refused."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    *("core", "infra", "config", "registry", "evaluations", "inference", "finetunes", "client", "tests"),
    *("benchmarks", "docs"),
)
# A local is named for what it is.
EMPTY = frozenset(
    {
        *("one", "found", "made", "told", "asked", "kept", "given", "said", "there", "known", "wanted", "shown"),
        *("chosen", "lot", "held"),
    }
)
# Old addresses and words of other products that stay, each with its reason.
ALLOWED = {
    "observations": "the address that services report calls to",
    "observation": "the address that services report calls to",
}
# Words that a page may use in their ordinary sense ("side by side", "it takes an hour").
ORDINARY = frozenset(
    (word,)
    for word in (
        *("bring", "brings", "bringing", "brought", "foreign", "tells", "side", "shares", "deal", "mark", "marked"),
        *("repeats", "drive", "pace", "takes", "silence", "silent", "traffic", "minimal", "money", "ear", "deaf"),
    )
)
MAX_MENTIONS = 15


@cache
def avoided_words() -> frozenset[tuple[str, ...]]:
    """The words in the Avoid column, each as its parts: "beat at" is ("beat", "at")."""
    rows = [line.split("|") for line in (ROOT / "docs/glossary.md").read_text().splitlines() if line.startswith("| ")]
    words = {word for row in rows if len(row) == 5 for word in re.findall(r"`([^`]+)`", row[3])}
    return frozenset(tuple(word.split()) for word in words if word not in ALLOWED)


def parts_of(identifier: str) -> tuple[str, ...]:
    """The words of an identifier: "DatasetImport" and "dataset_import" are ("dataset", "import")."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", identifier)
    return tuple(word.lower() for word in words)


def avoided_in(identifier: str) -> str | None:
    """The word to avoid that an identifier has, if it has one."""
    parts = parts_of(identifier)
    for word in avoided_words():
        if any(parts[at : at + len(word)] == word for at in range(len(parts))):
            return " ".join(word)
    return None


def modules() -> list[Path]:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return [
        path
        for path in paths
        if "migrations" not in path.parts and not path.is_relative_to(ROOT / "client/cuebook/core")
    ]


def names_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Names that a module gives: of variables, arguments, attributes, functions and classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def test_no_local_has_a_name_that_says_nothing():
    empty = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in modules()
        # Fields of serializers are members of the API, which are a contract.
        if "serializers" not in path.as_posix()
        for line, name in names_in(ast.parse(path.read_text()))
        if name.strip("_").lower() in EMPTY
    ]

    assert not empty, empty[:MAX_MENTIONS]


def test_identifiers_have_none_of_the_words_to_avoid():
    avoided = [
        f"{path.relative_to(ROOT)}:{line}: {name} ({word})"
        for path in modules()
        if not path.is_relative_to(ROOT / "tests")
        for line, name in names_in(ast.parse(path.read_text()))
        if (word := avoided_in(name))
    ]

    assert not avoided, avoided[:MAX_MENTIONS]


def test_templates_have_none_of_the_words_to_avoid():
    """In tags and variables as identifiers; in the text that users read, unless the word has an ordinary sense too."""
    avoided = []
    for path in (ROOT / "templates").rglob("*.html"):
        source = path.read_text()
        tags = re.findall(r"\{\{.*?\}\}|\{%.*?%\}", source, re.DOTALL)
        identifiers = {
            name for tag in tags for name in re.findall(r"[A-Za-z_]+", re.sub(r"\"[^\"]*\"|'[^']*'", "", tag))
        }
        avoided += [f"{path.relative_to(ROOT)}: {name}" for name in identifiers if avoided_in(name)]
        text = re.sub(r"\{[{%#].*?[}%#]\}|<[^>]*>", " ", source, flags=re.DOTALL).lower()
        words = map(" ".join, avoided_words() - ORDINARY)
        avoided += [f"{path.relative_to(ROOT)}: {word}" for word in words if re.search(rf"\b{word}\b", text)]

    assert not avoided, avoided[:MAX_MENTIONS]


def test_the_api_has_none_of_the_words_to_avoid():
    document = yaml.safe_load((ROOT / "openapi.yaml").read_text())
    schemas = document["components"]["schemas"]
    members = {member for schema in schemas.values() for member in schema.get("properties", ())}
    addresses = {part for path in document["paths"] for part in path.split("/")}

    avoided = sorted(name for name in {*members, *schemas, *addresses} if avoided_in(name))

    assert not avoided, avoided[:MAX_MENTIONS]


@pytest.mark.parametrize("identifier", ["beat_at", "ModelTrial", "tuner", "lineups", "SERVICE_LEVELS"])
def test_a_word_to_avoid_is_found_however_it_is_written(identifier: str):
    assert avoided_in(identifier)


def test_every_term_has_a_meaning():
    rows = [line for line in (ROOT / "docs/glossary.md").read_text().splitlines() if line.startswith("| ")]
    terms = [row.split("|")[1:3] for row in rows if not row.startswith(("| Term", "|---"))]

    assert len(terms) > 40
    assert all(term.strip() and meaning.strip().endswith((".", ")")) for term, meaning in terms)
