"""What Messages and Gemini have alike, and Chat Completions has not: instructions at the start, turns of two roles with
something in each, and arguments of calls that are objects. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from core.messages import is_json_object
from core.model_settings import ModelSettings
from registry.content.model_profiles.refusals import ModelRefusal

INSTRUCTING = ("system", "developer")
CHOICES = ("auto", "none", "required")


def instructions_of(messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the messages at the start that instruct."""
    end = next((index for index, each in enumerate(messages) if each["role"] not in INSTRUCTING), len(messages))
    return messages[:end]


def filled_parts(content: object) -> list[Mapping[str, Any]]:
    """Return a message's content as its parts, without empty texts."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    parts = content if isinstance(content, list) else ()
    return [part for part in parts if part["type"] != "text" or part["text"]]


def split_data_address(address: str) -> tuple[str, str]:
    """Return the media type and the base64 of a `data:` address."""
    head, _, data = address.partition(",")
    return head.removeprefix("data:").partition(";")[0], data


def add_turn(turns: list[dict[str, Any]], role: str, member: str, blocks: list[dict[str, Any]]) -> None:
    """Add what somebody said, as more of the last turn where it is of the same role."""
    if turns and turns[-1]["role"] == role:
        turns[-1][member] += blocks
    else:
        turns.append({"role": role, member: blocks})


def chosen_function(choice: object) -> str | None:
    """Return the name of the function that a `tool_choice` demands; None where it is one of the protocol's words."""
    if not isinstance(choice, Mapping):
        return None
    function = choice.get("function")
    name = (function if isinstance(function, Mapping) else choice).get("name")
    return name if isinstance(name, str) else None


def unknown_settings(settings: ModelSettings, names: Collection[str], title: str) -> list[ModelRefusal]:
    """Return a refusal for each setting that the protocol named `title` has not."""
    return [
        ModelRefusal(name, f"/model/{name}", f"{title} has no {name}; leave it out.")
        for name in settings.others
        if name not in names
    ]


def unfit_tool_choice(settings: ModelSettings, title: str) -> Iterator[ModelRefusal]:
    """Yield a refusal of a choice of tools that is neither a word of ours nor one function."""
    choice = settings.others.get("tool_choice")
    if choice not in (None, *CHOICES) and not chosen_function(choice):
        sentence = f"{title} takes {', '.join(CHOICES)} or one function as tool_choice."
        yield ModelRefusal("tool_choice", "/model/tool_choice", sentence)


def names_of_speakers(messages: Sequence[Mapping[str, Any]], title: str) -> Iterator[ModelRefusal]:
    """Yield a refusal for each message that names who speaks."""
    for index, message in enumerate(messages):
        if message.get("name"):
            sentence = f"{title} has no names of speakers; write {message['name']} into the text."
            yield ModelRefusal("name", f"/messages/{index}/name", sentence)


def unfit_messages(
    messages: Sequence[Mapping[str, Any]], title: str, *, has_mid_system: bool = False
) -> Iterator[ModelRefusal]:
    """Yield a refusal for whatever of the messages cannot be written as such turns."""
    yield from names_of_speakers(messages, title)
    start = len(instructions_of(messages))
    for index, message in enumerate(messages):
        pointer = f"/messages/{index}"
        if index >= start and not (filled_parts(message.get("content")) or message.get("tool_calls")):
            sentence = f"{title} takes no message without content; leave it out."
            yield ModelRefusal("messages", f"{pointer}/content", sentence)
        if message["role"] in INSTRUCTING and index >= start and not has_mid_system:
            sentence = f"{title} has its instructions at the start only; move this message there."
            yield ModelRefusal("role", f"{pointer}/role", sentence)
        if message.get("refusal"):
            sentence = f"{title} has no refusals of before; write it as text."
            yield ModelRefusal("refusal", f"{pointer}/refusal", sentence)
        content = message.get("content")
        for number, part in enumerate(content if isinstance(content, list) else ()):
            if part["type"] == "image_url" and part["image_url"].get("detail", "auto") != "auto":
                sentence = f"{title} has no detail of images; leave it out."
                yield ModelRefusal("detail", f"{pointer}/content/{number}/image_url/detail", sentence)
        for number, call in enumerate(message.get("tool_calls") or ()):
            if not is_json_object(call["function"]["arguments"]):
                sentence = f"The arguments of {call['function']['name']} are no JSON object, which {title} needs."
                yield ModelRefusal("tool_calls", f"{pointer}/tool_calls/{number}/function/arguments", sentence)
    if len(messages) == start:
        yield ModelRefusal("messages", "/messages", f"{title} needs a message of the user.")
