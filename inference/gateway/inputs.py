"""The variables of a call: those that came with it, or its messages. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.content import EXAMPLES_PLACEHOLDER
from core.errors import Problem
from core.messages import text_of

Message = Mapping[str, Any]


@dataclass(frozen=True)
class InputPlaces:
    """Where a version takes what a call brings: the variable of the question (empty where nobody can tell which), and
    the placeholder of earlier messages (empty where there is none, or several)."""

    question: str = ""
    history: str = ""


def input_places(content: Mapping[str, Any], variables: frozenset[str], question: str = "") -> InputPlaces:
    """Find the places in a content. `variables` are those that it uses, placeholders among them; `question` is the
    config's word for the variable of the question, without which it is the only one that there is."""
    placeholders = [
        message["name"]
        for message in content.get("messages", ())
        if message["role"] == "placeholder" and message["name"] != EXAMPLES_PLACEHOLDER
    ]
    others = sorted(variables - set(placeholders))
    only = others[0] if len(others) == 1 else ""
    return InputPlaces(question or only, placeholders[0] if len(placeholders) == 1 else "")


def read_variables(
    places: InputPlaces, messages: Sequence[Message], variables: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the variables to render with; nothing of the messages is dropped. Raises `gateway.no_place` where a
    message has none."""
    values = dict(variables or {})
    rest = list(messages)
    if variables is None:
        rest, last = rest[:-1], rest[-1] if rest else None
        if last is None or last.get("role") != "user":
            raise Problem("gateway.no_place", "Send variables, or a last message of the user, which is the question.")
        if not places.question:
            sentence = "Nobody can tell which variable the last message is: send variables, or name it in the config."
            raise Problem("gateway.no_place", sentence)
        others = sorted(name for name, value in last.items() if name not in ("role", "content") and value is not None)
        if others:
            sentence = (
                f"The last message is the question; its {others[0]} has no place. Leave it out, or send variables."
            )
            raise Problem("gateway.no_place", sentence)
        if not isinstance(last.get("content"), str):
            sentence = "The last message has parts: send variables, an image's address as one of them."
            raise Problem("gateway.no_place", sentence)
        values[places.question] = text_of(last)
    if rest and (not places.history or places.history in values):
        sentence = "There is no placeholder for earlier messages: the version has to say where they go."
        raise Problem("gateway.no_place", sentence)
    if places.history:
        values.setdefault(places.history, [dict(message) for message in rest])
    return values
