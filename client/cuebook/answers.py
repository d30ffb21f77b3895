"""What the registry answers, held against what was asked for, before anything is made of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from cuebook.core.examples import Shot
from cuebook.errors import IntegrityError, RefusedError
from cuebook.hashing import verify

Document = dict[str, Any]
# What reading a document raises that is not as it should be: a member is missing, of another type, a number that is no
# number, half of a character, nested without end.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)


@contextmanager
def well_formed(what: str) -> Iterator[None]:
    """IntegrityError for what cannot be read."""
    try:
        yield
    except MALFORMED as error:
        raise IntegrityError(f"{what} is not as Cuebook writes it: {error!r}"[:300]) from error


def version_of(document: Any, whole: str) -> Document:
    """A version that was asked for by a reference with its selector: it has that name, and that number or hash where
    the selector says one, and its content and partials have their hashes. Raises IntegrityError."""
    name, _, selector = whole.partition("@")
    with well_formed(f"The answer to {whole}"):
        found: Document = {
            "prompt": str(document["prompt"]),
            "number": int(document["number"]),
            "hash": str(document["hash"]),
            "content": dict(document["content"]),
            "partials": {
                str(pinned): {"prompt": str(one["prompt"]), "content": dict(one["content"])}
                for pinned, one in document["partials"].items()
            },
        }
        is_it = found["prompt"] == name
        if selector.isdecimal():
            is_it = is_it and found["number"] == int(selector)
        elif selector.startswith("sha256:"):
            is_it = is_it and found["hash"].startswith(selector)
        if not is_it:
            raise IntegrityError(f"The answer to {whole} is {found['prompt']}@{found['number']}, {found['hash']}.")
        verify(found)
        return found


def versions_of(answer: Any, wholes: Sequence[str], refusal: Any) -> list[Document | RefusedError | IntegrityError]:
    """For each reference its version, or what is wrong with it. Raises IntegrityError where they do not belong
    together."""
    with well_formed("The answer to a batch"):
        results = list(answer["results"])
        if [one["reference"] for one in results] != list(wholes):
            raise IntegrityError("The answer to a batch is about other references.")
        return [_result(one, whole, refusal) for one, whole in zip(results, wholes, strict=True)]


def _result(result: Any, whole: str, refusal: Any) -> Document | RefusedError | IntegrityError:
    if "version" not in result:
        found: RefusedError = refusal(dict(result["problem"]), int(result["problem"]["status"]))
        return found
    try:
        return version_of(result["version"], whole)
    except IntegrityError as error:
        return error


def live_of(answer: Any) -> tuple[dict[str, Document], list[str], bool]:
    """A snapshot's versions by name, the names that are gone, and whether it is all of it. Raises IntegrityError."""
    with well_formed("The snapshot"):
        live = {str(name): version_of(one, str(name)) for name, one in answer["prompts"].items()}
        return live, [str(name) for name in answer.get("removed", ())], "since" not in answer


def shots_of(documents: Any) -> list[Shot]:
    """Examples as they are stored. Raises IntegrityError; that they are the ones is what their hash says."""
    with well_formed("An example set"):
        return [
            Shot(str(one["input"]), str(one["output"]), str(one.get("note", "")), tuple(map(str, one.get("tags", ()))))
            for one in documents
        ]


def rendered_of(answer: Any, name: str, pinned: str) -> Document:
    """A request that the registry rendered, of this version. Raises IntegrityError."""
    with well_formed(f"The rendered {name}"):
        if (answer["prompt"], answer["hash"]) != (name, pinned):
            raise IntegrityError(f"What was rendered is {answer['prompt']} {answer['hash']}, and not {name} {pinned}.")
        found: Mapping[str, Any] = {
            "messages": [{"role": str(one["role"]), "content": str(one["content"])} for one in answer["messages"]],
            "model": dict(answer["model"]),
            "response_format": {"type": str(answer["response_format"]["type"]), **answer["response_format"]},
            "tools": list(answer.get("tools") or ()),
        }
        return dict(found)
