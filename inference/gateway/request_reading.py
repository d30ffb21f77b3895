"""What a client asks of the inference service, read from OpenAI's wires. Pure.

`model` names a task (`task:support-triage`, `task:support-triage@staging`) or a prompt by any reference
(`prompt:support.triage@production`). What a config or a version decides (settings, tools, the answer's format) is not
the caller's to say: what was measured is what is served.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import Fault, Problem
from core.messages import is_message
from core.references import is_environment_name, parse_reference
from inference.calls.reading import MAX_SUBJECT, read_metadata

MAX_MODEL = 300
MAX_MESSAGES = 1_000
TASK, PROMPT = "task:", "prompt:"
OWN_MEMBERS = frozenset({"variables", "subject", "metadata"})
# Members that go on with what a provider keeps of earlier calls, or begin to keep.
STATE = frozenset({"previous_response_id", "conversation", "background", "prompt", "include", "item_reference"})
# Members of a request that change nothing of what is asked, or ask for what is done anyway.
IGNORED = frozenset({"user", "store", "n", "service_tier", "prompt_cache_key", "safety_identifier", "truncation"})


@dataclass(frozen=True)
class Target:
    """What `model` names: a task in an environment, or a prompt by a reference. Without a `selector` the key's own
    environment is meant."""

    kind: str
    name: str
    selector: str

    def __str__(self) -> str:
        return f"{self.kind}{self.name}@{self.selector}"


@dataclass(frozen=True)
class InferenceRequest:
    """A request. `variables` is None where the last message of the user is the input."""

    model: str
    target: Target
    messages: Sequence[Mapping[str, Any]] = ()
    variables: Mapping[str, Any] | None = None
    subject: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    is_streamed: bool = False
    includes_usage: bool = False


def read_chat(body: Mapping[str, Any]) -> InferenceRequest:
    """Read the body of `POST /v1/chat/completions`; raises `gateway.invalid` with what is wrong."""
    taken = {"model", "messages", "stream", "stream_options", "cuebook", "metadata"}
    _refuse_settings(body, taken)
    options = body.get("stream_options")
    options = {} if options is None else options
    if not isinstance(options, dict) or not options.keys() <= {"include_usage", "include_obfuscation"}:
        raise _invalid("/stream_options", "Must be an object with include_usage.")
    if not isinstance(options.get("include_usage"), bool | None):
        raise _invalid("/stream_options/include_usage", "Must be true or false.")
    return _read(body, body.get("messages"), includes_usage=bool(options.get("include_usage")))


def read_responses(body: Mapping[str, Any]) -> InferenceRequest:
    """Read the body of `POST /v1/responses`; raises `gateway.invalid` with what is wrong."""
    _refuse_settings(body, {"model", "input", "stream", "cuebook", "metadata"})
    items = body.get("input")
    items = [{"role": "user", "content": items}] if isinstance(items, str) else items
    if not isinstance(items, list):
        raise _invalid("/input", "Must be text, or a list of messages.")
    messages: list[dict[str, Any]] = []
    for place, item in enumerate(items):
        message = _message_of_item(item, place)
        before = messages[-1] if messages else {}
        if "tool_calls" in message and before.get("role") == "assistant":
            # Chat Completions has the calls of one turn, and the text before them, in one message.
            before["tool_calls"] = [*before.get("tool_calls", ()), *message["tool_calls"]]
        else:
            messages.append(message)
    return _read(body, messages, includes_usage=True)


def parse_target(model: object) -> Target:
    """Parse what `model` names; raises `gateway.unknown_model` where it is neither a task nor a prompt."""
    text = model if isinstance(model, str) and len(model) <= MAX_MODEL else ""
    if text.startswith(TASK):
        name, _, environment = text.removeprefix(TASK).partition("@")
        if name and (not environment or is_environment_name(environment)):
            return Target(TASK, name, environment)
    if text.startswith(PROMPT):
        reference = text.removeprefix(PROMPT)
        try:
            parse_reference(reference)
        except Problem as problem:
            raise Problem("gateway.unknown_model", problem.detail) from None
        name, _, selector = reference.partition("@")
        return Target(PROMPT, name, selector)
    sentence = "model is task:NAME, task:NAME@ENVIRONMENT or prompt:NAME@SELECTOR"
    raise Problem("gateway.unknown_model", f"{sentence}; this is {str(model)[:100]!r}.")


def _read(body: Mapping[str, Any], messages: object, *, includes_usage: bool) -> InferenceRequest:
    target = parse_target(body.get("model"))
    if not isinstance(messages, list) or len(messages) > MAX_MESSAGES or not all(map(is_message, messages)):
        raise _invalid("/messages", f"Must be a list of at most {MAX_MESSAGES:,} messages, each with role and content.")
    own = body.get("cuebook")
    if own is not None and (not isinstance(own, dict) or not own.keys() <= OWN_MEMBERS):
        raise _invalid("/cuebook", f"Members are: {', '.join(sorted(OWN_MEMBERS))}.")
    own = own or {}
    variables = own.get("variables")
    if variables is not None and not isinstance(variables, dict):
        raise _invalid("/cuebook/variables", "Must be an object.")
    subject, metadata = own.get("subject"), own.get("metadata")
    subject = body.get("user") if subject is None else subject
    subject = "" if subject is None else subject
    if not isinstance(subject, str) or len(subject) > MAX_SUBJECT:
        raise _invalid("/cuebook/subject", f"Must be text of at most {MAX_SUBJECT} characters.")
    if not isinstance(body.get("stream"), bool | None):
        raise _invalid("/stream", "Must be true or false.")
    return InferenceRequest(
        model=str(body["model"]),
        target=target,
        messages=messages,
        variables=variables,
        subject=subject,
        metadata=_metadata(body.get("metadata") if metadata is None else metadata),
        is_streamed=bool(body.get("stream")),
        includes_usage=includes_usage,
    )


def _metadata(value: object) -> dict[str, str]:
    try:
        return read_metadata(value)
    except ValueError as error:
        raise _invalid("/metadata", str(error)) from None


def _refuse_settings(body: Mapping[str, Any], read: set[str]) -> None:
    """Refuse what the version decides: settings that change nothing would be a lie."""
    if body.get("n") not in (None, 1) or body.get("n") is True:
        raise _invalid("/n", "One answer comes to a call.")
    settings = sorted(name for name, value in body.items() if name not in read | IGNORED and value is not None)
    if settings:
        sentence = "The task's config, or the prompt's version, decides this. Leave it out."
        if any(name in STATE for name in settings):
            settings = [name for name in settings if name in STATE]
            sentence = "Nothing is kept between calls here. Send the whole conversation as messages."
        faults = [Fault(f"/{name}", "decided", sentence) for name in settings]
        sentence = f"{', '.join(settings)}: {sentence}"
        raise Problem("gateway.invalid", sentence, faults=faults)


def _message_of_item(item: object, place: int) -> dict[str, Any]:
    """Return an item of a Responses input as a message."""
    if not isinstance(item, dict):
        raise _invalid(f"/input/{place}", "Must be a message.")
    match item.get("type", "message"):
        case "message":
            return {"role": item.get("role"), "content": _content(item.get("content"), place)}
        case "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            return {"role": "assistant", "content": None, "tool_calls": [call]}
        case "function_call_output":
            return {"role": "tool", "tool_call_id": item.get("call_id"), "content": _content(item.get("output"), place)}
    raise _invalid(f"/input/{place}/type", "Is a message, a function_call or a function_call_output.")


def _content(content: object, place: int) -> Any:
    if not isinstance(content, list):
        return content
    return [_part(part, place) for part in content]


def _part(part: object, place: int) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(part, dict) and kind in ("input_text", "output_text"):
        return {"type": "text", "text": part.get("text")}
    if isinstance(part, dict) and kind == "refusal":
        return {"type": "text", "text": part.get("refusal")}
    if isinstance(part, dict) and kind == "input_image":
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part.get("image_url"), **detail}}
    raise _invalid(f"/input/{place}/content", "Parts are input_text, input_image, output_text and refusal.")


def _invalid(pointer: str, sentence: str) -> Problem:
    return Problem(
        "gateway.invalid", f"{pointer.removeprefix('/')}: {sentence}", faults=[Fault(pointer, "type", sentence)]
    )
