"""Validation of the registry's answers against the questions, before they are used."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from cuebook.core.assignment import Split
from cuebook.core.examples import Shot
from cuebook.errors import IntegrityError, RefusedError
from cuebook.hashing import verify

Document = dict[str, Any]
# The exceptions of reading a malformed document: a member is missing or of another type, a number is none, half of a
# character, endless nesting.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)


@contextmanager
def well_formed(subject: str) -> Iterator[None]:
    """Raise IntegrityError for a document that cannot be read."""
    try:
        yield
    except MALFORMED as error:
        raise IntegrityError(f"{subject} is not as Cuebook writes it: {error!r}"[:300]) from error


def read_version(document: Any, reference: str) -> Document:
    """Read a version that was asked for by a reference with its selector, and check its name, its number or hash where
    the selector has one, and the hashes of content and partials. Raises IntegrityError."""
    name, _, selector = reference.partition("@")
    with well_formed(f"The answer to {reference}"):
        version: Document = {
            "prompt": str(document["prompt"]),
            "number": int(document["number"]),
            "hash": str(document["hash"]),
            "content": dict(document["content"]),
            "partials": {
                str(pinned): {"prompt": str(partial["prompt"]), "content": dict(partial["content"])}
                for pinned, partial in document["partials"].items()
            },
        }
        matches = version["prompt"] == name
        if selector.isdecimal():
            matches = matches and version["number"] == int(selector)
        elif selector.startswith("sha256:"):
            matches = matches and version["hash"].startswith(selector)
        if not matches:
            raise IntegrityError(
                f"The answer to {reference} is {version['prompt']}@{version['number']}, {version['hash']}."
            )
        verify(version)
        return version


def read_batch(answer: Any, references: Sequence[str], refusal: Any) -> list[Document | RefusedError | IntegrityError]:
    """Read a version, or its error, for each reference. Raises IntegrityError where the answer is about others."""
    with well_formed("The answer to a batch"):
        results = list(answer["results"])
        if [result["reference"] for result in results] != list(references):
            raise IntegrityError("The answer to a batch is about other references.")
        return [_result(result, reference, refusal) for result, reference in zip(results, references, strict=True)]


def _result(result: Any, reference: str, refusal: Any) -> Document | RefusedError | IntegrityError:
    if "version" not in result:
        refused: RefusedError = refusal(dict(result["problem"]), int(result["problem"]["status"]))
        return refused
    try:
        return read_version(result["version"], reference)
    except IntegrityError as error:
        return error


def read_snapshot(answer: Any) -> tuple[dict[str, Document], list[str], bool]:
    """Read a snapshot: its versions by name, the removed names, and whether it is complete. Raises IntegrityError."""
    with well_formed("The snapshot"):
        live = {str(name): read_version(document, str(name)) for name, document in answer["prompts"].items()}
        return live, [str(name) for name in answer.get("removed", ())], "since" not in answer


def read_experiments(answer: Any) -> tuple[dict[str, Document], dict[str, Document]]:
    """Read the experiments of a snapshot, or of the copy on disk: what assigns subjects, by the prompt's name, and the
    versions of arms by hash. Raises IntegrityError, also where an arm has no version, or another prompt's."""
    with well_formed("The snapshot's experiments"):
        experiments = {str(name): dict(document) for name, document in (answer.get("experiments") or {}).items()}
        documents = answer.get("arms") or {}
        arms: dict[str, Document] = {}
        for name, experiment in experiments.items():
            _, hashes = Split.from_dict(experiment)
            for pinned in hashes.values():
                arms[pinned] = read_version(documents[pinned], f"{name}@{pinned}")
        return experiments, arms


def read_shots(documents: Any) -> list[Shot]:
    """Read stored examples. Raises IntegrityError; their hash is verified elsewhere."""
    with well_formed("An example set"):
        return [
            Shot(
                str(document["input"]),
                str(document["output"]),
                str(document.get("note", "")),
                tuple(map(str, document.get("tags", ()))),
            )
            for document in documents
        ]


def read_rendered(answer: Any, name: str, pinned: str) -> Document:
    """Read a request that the registry rendered from this version. Raises IntegrityError."""
    with well_formed(f"The rendered {name}"):
        if (answer["prompt"], answer["hash"]) != (name, pinned):
            raise IntegrityError(f"What was rendered is {answer['prompt']} {answer['hash']}, and not {name} {pinned}.")
        rendered: Mapping[str, Any] = {
            "messages": [_read_message(message) for message in answer["messages"]],
            "model": dict(answer["model"]),
            "response_format": {"type": str(answer["response_format"]["type"]), **answer["response_format"]},
            "tools": list(answer.get("tools") or ()),
        }
        return dict(rendered)


def _read_message(message: Any) -> Document:
    """Read a message: a text, or parts, calls of tools and results as they are."""
    content = message.get("content")
    written: Document = {**message, "role": str(message["role"])}
    if content is None and not message.get("tool_calls") and not message.get("refusal"):
        raise KeyError("content")
    if content is not None and not isinstance(content, list):
        written["content"] = str(content)
    return written
