"""Spans of OpenTelemetry as calls: by its conventions for generative AI, by Langfuse's and by OpenInference's. Pure.

Where several conventions are in one span, Langfuse's own names come first: its SDK writes them beside the others.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from inference.calls.reading import MAX_TOKENS

CALL_OPERATIONS = ("chat", "text_completion", "generate_content")
# Why a span is no call here.
NO_CALL, NO_PROMPT, NO_VERSION = "no_call", "no_prompt", "no_version"
# The inference service records its calls itself; its spans are of the same.
RECORDED = "recorded_already"
ERROR_STATUS = 2


@dataclass(frozen=True)
class Span:
    """A span as it was sent: ids as hexadecimal digits, times in nanoseconds since 1970."""

    trace: str
    span: str
    start: int
    end: int
    attributes: Mapping[str, Any]
    # Of the service that sent it.
    resource: Mapping[str, Any] = field(default_factory=dict)
    status: int = 0


PROMPT = ("langfuse.observation.prompt.name", "gen_ai.prompt.name", "llm.prompt_template.name", "prompt.id")
VERSION = ("langfuse.observation.prompt.version", "gen_ai.prompt.version", "llm.prompt_template.version")
MODEL = ("langfuse.observation.model.name", "gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
SUBJECT = ("langfuse.user.id", "user.id", "enduser.id")
ENVIRONMENT = ("langfuse.environment", "deployment.environment.name", "deployment.environment")
COST = ("gen_ai.usage.cost", "llm.cost.total")
TOKENS: Mapping[str, tuple[str, ...]] = {
    "tokens_in": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
    "tokens_out": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
    "tokens_cached": ("gen_ai.usage.cache_read.input_tokens", "llm.token_count.prompt_details.cache_read"),
    "tokens_cache_write": ("gen_ai.usage.cache_creation.input_tokens", "llm.token_count.prompt_details.cache_write"),
    "tokens_reasoning": ("gen_ai.usage.reasoning.output_tokens", "llm.token_count.completion_details.reasoning"),
}
# The same in Langfuse's usage, a JSON object in one attribute.
LANGFUSE_TOKENS: Mapping[str, tuple[str, ...]] = {
    "tokens_in": ("input", "input_tokens", "prompt_tokens"),
    "tokens_out": ("output", "output_tokens", "completion_tokens"),
    "tokens_cached": ("cache_read_input_tokens", "input_cached_tokens"),
    "tokens_cache_write": ("cache_creation_input_tokens",),
    "tokens_reasoning": ("output_reasoning_tokens",),
}


def read_span(span: Span) -> dict[str, Any] | str:
    """Return the call that a span is, as services report calls; or why it is none."""
    attributes = span.attributes
    if not _is_call(attributes):
        return NO_CALL
    if "cuebook.call" in attributes:
        return RECORDED
    prompt, version = _text(attributes, PROMPT), _text(attributes, VERSION)
    if not prompt:
        return NO_PROMPT
    if not version:
        return NO_VERSION
    environment = _text(attributes, ENVIRONMENT) or _text(span.resource, ENVIRONMENT)
    failed = span.status == ERROR_STATUS
    call: dict[str, Any] = {
        "id": f"{span.trace}{span.span}"[:64],
        "prompt": f"{prompt}@{version}",
        # One that the project does not know is refused: a developer's calls would be production's.
        "environment": environment,
        "at": datetime.fromtimestamp(span.start / 1e9, UTC).isoformat(),
        "model": _text(attributes, MODEL)[:200],
        "failed": failed,
        "error": (_text(attributes, ("error.type",)) or "error")[:60] if failed else "",
        "latency_ms": max(0, span.end - span.start) / 1e6,
        "subject": _text(attributes, SUBJECT)[:200],
        "trace": span.trace,
        "finish_reason": _first(attributes.get("gen_ai.response.finish_reasons"))[:30],
        **_tokens(attributes),
    }
    if (first := _number(attributes.get("gen_ai.response.time_to_first_chunk"))) is not None:
        call["time_to_first_token_ms"] = first * 1_000
    elif (begun := _moment(attributes.get("langfuse.observation.completion_start_time"))) is not None:
        call["time_to_first_token_ms"] = max(0.0, begun.timestamp() * 1e3 - span.start / 1e6)
    if (cost := _cost(attributes)) is not None:
        call["cost_usd"] = cost
    if text := _conversation(attributes):
        call["text"] = text
    if (run := attributes.get("cuebook.experiment.run")) is not None:
        # As the prompt was fetched with.
        step, arm = attributes.get("cuebook.experiment.step"), attributes.get("cuebook.experiment.arm")
        call["experiment"] = {"run": run, "step": step, "arm": arm}
    return call


def _is_call(attributes: Mapping[str, Any]) -> bool:
    kind = attributes.get("langfuse.observation.type")
    if kind is not None:
        return bool(kind == "generation")
    if (kind := attributes.get("openinference.span.kind")) is not None:
        return bool(kind == "LLM")
    operation = attributes.get("gen_ai.operation.name")
    return operation in CALL_OPERATIONS if operation is not None else bool(_text(attributes, MODEL))


def _text(attributes: Mapping[str, Any], names: Sequence[str]) -> str:
    values = (attributes.get(name) for name in names)
    return next((str(value) for value in values if isinstance(value, str | int) and value not in ("", False)), "")


def _first(value: object) -> str:
    return str(value[0]) if isinstance(value, list) and value else ""


def _number(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < float("inf") else None  # type: ignore[arg-type, operator]


def _moment(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(value).strip('"')) if value else None
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at and at.tzinfo is None else at


def _object(value: object) -> Mapping[str, Any]:
    try:
        document = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _conversation(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked and answered, where the span has it; it is kept only where the project keeps texts."""
    question = _messages(attributes, ("langfuse.observation.input", "gen_ai.input.messages"))
    answer = _messages(attributes, ("langfuse.observation.output", "gen_ai.output.messages"))
    if not question and not answer:
        return {}
    return {"messages": question, "answer": {"text": "\n".join(message["content"] for message in answer)}}


def _messages(attributes: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, str]]:
    """Return messages as role and text: of a list of them in JSON, or of a text."""
    sent = next((attributes[name] for name in names if attributes.get(name)), None)
    if isinstance(sent, str):
        try:
            sent = json.loads(sent)
        except ValueError:
            return [{"role": "user", "content": sent}]
    if isinstance(sent, str):
        return [{"role": "user", "content": sent}]
    sent = sent.get("messages", [sent]) if isinstance(sent, dict) else sent
    messages = [message for message in sent or () if isinstance(message, dict)] if isinstance(sent, list) else []
    return [{"role": str(message.get("role") or "user"), "content": _content(message)} for message in messages]


def _content(message: Mapping[str, Any]) -> str:
    """Return the text of a message: its content, or that of its parts; what is no text is written as JSON."""
    content = message.get("content", message.get("parts"))
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return "" if content is None else json.dumps(content, ensure_ascii=False)
    texts = []
    for part in content:
        text = part.get("content", part.get("text")) if isinstance(part, dict) else part
        texts.append(text if isinstance(text, str) else json.dumps(part, ensure_ascii=False))
    return "\n".join(texts)


def _tokens(attributes: Mapping[str, Any]) -> dict[str, int]:
    usage = _object(attributes.get("langfuse.observation.usage_details"))
    counts: dict[str, int] = {}
    for name, names in TOKENS.items():
        values = [usage.get(other) for other in LANGFUSE_TOKENS[name]] + [attributes.get(other) for other in names]
        number = next((number for value in values if (number := _number(value)) is not None), None)
        if number is not None and number <= MAX_TOKENS:
            counts[name] = int(number)
    # Some count what was cached beside the question, and not as a part of it.
    parts = counts.get("tokens_cached", 0) + counts.get("tokens_cache_write", 0)
    if parts > counts.get("tokens_in", 0):
        counts["tokens_in"] = counts.get("tokens_in", 0) + parts
    if counts.get("tokens_reasoning", 0) > counts.get("tokens_out", 0):
        counts["tokens_out"] = counts.get("tokens_out", 0) + counts["tokens_reasoning"]
    return counts


def _cost(attributes: Mapping[str, Any]) -> float | None:
    details = _object(attributes.get("langfuse.observation.cost_details"))
    total = _number(details.get("total"))
    if total is None and details:
        total = sum(filter(None, map(_number, details.values())))
    values = [total, *(_number(attributes.get(name)) for name in COST)]
    return next((value for value in values if value is not None), None)
