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
    # Whether the messages are all that the model is asked: there is no prompt around them.
    is_all: bool = False


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
    if question:
        only = question if question in others else ""
    return InputPlaces(only, placeholders[0] if len(placeholders) == 1 else "")


def read_variables(
    places: InputPlaces, messages: Sequence[Message], variables: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the variables to render with; nothing of the messages is dropped. The last message of the user is the
    question, unless that is among the variables. Raises `gateway.no_place` where a message has no place."""
    if places.is_all:
        if variables:
            raise Problem(
                "gateway.no_place", "The config names no prompt: send messages, which the model gets as they are."
            )
        if not messages:
            raise Problem("gateway.no_place", "The config names no prompt: the messages are what is asked. Send some.")
        return {places.history: [dict(message) for message in messages]}
    values = dict(variables or {})
    rest = list(messages)
    is_last_asking = bool(rest) and rest[-1].get("role") == "user"
    if variables is None and not is_last_asking:
        raise Problem("gateway.no_place", "Send variables, or a last message of the user, which is the question.")
    if variables is None and not places.question:
        sentence = "Nobody can tell which variable the last message is: send variables, or name it in the config."
        raise Problem("gateway.no_place", sentence)
    if is_last_asking and places.question and places.question not in values:
        values[places.question] = _question(rest.pop())
    if rest and (not places.history or places.history in values):
        raise Problem("gateway.no_place", _no_history(places, values, variables is not None))
    if places.history:
        values.setdefault(places.history, [dict(message) for message in rest])
    return values


def _question(message: Message) -> str:
    """Return the text of the message that is the question; several parts are one text where all of them are text."""
    others = sorted(name for name, value in message.items() if name not in ("role", "content") and value is not None)
    if others:
        sentence = f"The last message is the question; its {others[0]} has no place. Leave it out, or send variables."
        raise Problem("gateway.no_place", sentence)
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    if not isinstance(content, str) and not (parts and all(part.get("type") == "text" for part in parts)):
        sentence = "The last message has parts that are no text: send an image's address as a variable."
        raise Problem("gateway.no_place", sentence)
    return text_of(message)


def _no_history(places: InputPlaces, values: Mapping[str, Any], has_variables: bool) -> str:
    if has_variables and not places.history:
        named = f" {places.question} is among the variables, so" if places.question in values else " With variables,"
        return f"The version has no placeholder for messages.{named} send messages: []."
    if places.history:
        return f"The messages have no place: {places.history} is among the variables."
    return "There is no placeholder for earlier messages: the version has to say where they go."
