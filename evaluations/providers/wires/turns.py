"""What Messages and Gemini have alike, and Chat Completions has not: instructions at the start, turns of two roles with
something in each, and arguments of calls that are objects. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from core.messages import is_json_object
from core.model_settings import ModelSettings
from registry.content.model_profiles.refusals import ModelRefusal

INSTRUCTING = ("system", "developer")
CHOICES = ("auto", "none", "required")
FUNCTION_KINDS = ("function", "tool")
FUNCTION_MEMBERS = {"name", "description", "parameters", "strict"}


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
    if not isinstance(choice, Mapping) or choice.get("type") not in FUNCTION_KINDS:
        return None
    function = choice.get("function")
    inner = function if isinstance(function, Mapping) and choice.keys() == {"type", "function"} else choice
    name = inner.get("name")
    return name if isinstance(name, str) and inner.keys() - {"type"} == {"name"} else None


def unknown_settings(settings: ModelSettings, names: Collection[str], title: str) -> list[ModelRefusal]:
    """Return a refusal for each setting that the protocol named `title` has not."""
    return [
        ModelRefusal(name, f"/model/{name}", f"{title} has no {name}; leave it out.")
        for name in settings.others
        if name not in names
    ]


def unfit_shared(settings: ModelSettings, title: str) -> Iterator[ModelRefusal]:
    """Yield a refusal of each setting of Chat Completions whose value cannot be written in other words."""
    stop, is_parallel = settings.others.get("stop"), settings.others.get("parallel_tool_calls")
    texts = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else [None]
    if stop is not None and not all(isinstance(text, str) for text in texts):
        yield ModelRefusal("stop", "/model/stop", f"{title} takes a text or a list of texts as stop.")
    if is_parallel is not None and not isinstance(is_parallel, bool):
        sentence = f"{title} takes true or false as parallel_tool_calls."
        yield ModelRefusal("parallel_tool_calls", "/model/parallel_tool_calls", sentence)
    choice = settings.others.get("tool_choice")
    if choice not in (None, *CHOICES) and not chosen_function(choice):
        sentence = f"{title} takes {', '.join(CHOICES)} or one function as tool_choice."
        yield ModelRefusal("tool_choice", "/model/tool_choice", sentence)


def unfit_tools(tools: Sequence[Mapping[str, Any]], title: str) -> Iterator[ModelRefusal]:
    """Yield a refusal for each tool with members that are of no function."""
    for index, tool in enumerate(tools):
        unknown = [*(tool.keys() - {"type", "function"}), *(tool["function"].keys() - FUNCTION_MEMBERS)]
        if unknown:
            sentence = f"{title} has no {', '.join(sorted(unknown))} of tools; leave it out."
            yield ModelRefusal("tools", f"/tools/{index}", sentence)


def unknown_members(messages: Sequence[Mapping[str, Any]], title: str) -> Iterator[ModelRefusal]:
    """Yield a refusal for each part and call with members that Chat Completions has not either, such as another
    protocol's own."""
    for index, message in enumerate(messages):
        content, calls = message.get("content"), message.get("tool_calls") or ()
        for number, part in enumerate(content if isinstance(content, list) else ()):
            unknown = {*(part.keys() - {"type", part["type"]}), *(part.get("image_url", {}).keys() - {"url", "detail"})}
            if unknown:
                sentence = f"{title} has no {', '.join(sorted(unknown))} of parts; leave it out."
                yield ModelRefusal("messages", f"/messages/{index}/content/{number}", sentence)
        for number, call in enumerate(calls):
            unknown = {*(call.keys() - {"id", "type", "function"}), *(call["function"].keys() - {"name", "arguments"})}
            if unknown:
                sentence = f"{title} has no {', '.join(sorted(unknown))} of calls; leave it out."
                yield ModelRefusal("tool_calls", f"/messages/{index}/tool_calls/{number}", sentence)


def names_of_speakers(messages: Sequence[Mapping[str, Any]], title: str) -> Iterator[ModelRefusal]:
    """Yield a refusal for each message that names who speaks."""
    for index, message in enumerate(messages):
        if message.get("name"):
            sentence = f"{title} has no names of speakers; write {message['name']} into the text."
            yield ModelRefusal("name", f"/messages/{index}/name", sentence)


def unfit_turns(
    messages: Sequence[Mapping[str, Any]], title: str, *, has_mid_system: bool = False
) -> Iterator[ModelRefusal]:
    """Yield a refusal for whatever of the messages cannot be written as such turns."""
    yield from unknown_members(messages, title)
    yield from names_of_speakers(messages, title)
    start = len(instructions_of(messages))
    for index, message in enumerate(messages):
        pointer = f"/messages/{index}"
        is_empty = not (filled_parts(message.get("content")) or message.get("tool_calls"))
        # A tool may well have nothing to say.
        if index >= start and is_empty and message["role"] != "tool":
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
