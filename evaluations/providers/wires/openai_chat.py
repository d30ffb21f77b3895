"""OpenAI's Chat Completions, which most servers speak. Pure.

Settings without a word of ours are sent as they are: each server has some of its own.
"""

from collections.abc import Mapping
from typing import Any

from core.model_settings import read_settings
from evaluations.providers.answer_shapes import (
    MAX_ANSWER_CHARACTERS,
    StreamedToolCalls,
    error_in_answer,
    garbled_error,
    read_content,
    read_count,
    split_thinking,
    sum_counts,
)
from evaluations.providers.chat import CallError, ChatRequest, Completion, Remedy, storable
from registry.content.model_profiles.refusals import ModelRefusal, is_reasoning

# A day: anything longer is no time of a call.
MAX_SERVER_MS = 86_400_000.0
TITLE = "Chat Completions"


def unfit_settings(request: ChatRequest) -> list[ModelRefusal]:
    settings, profile = read_settings(request.parameters), request.profile
    refusals = []
    if settings.summary is not None and profile.vendor == "openai":
        sentence = f"{TITLE} tells no summary of reasoning; leave it out, or use Responses."
        refusals.append(ModelRefusal("reasoning.summary", "/model/reasoning/summary", sentence))
    if settings.prompt_cache is not None:
        sentence = f"{TITLE} has no prompt_cache; leave it out."
        refusals.append(ModelRefusal("prompt_cache", "/model/prompt_cache", sentence))
    if profile.endpoints and "chat" not in profile.endpoints:
        sentence = f"{request.model} is not served over {TITLE}; choose Responses as the provider's protocol."
        refusals.append(ModelRefusal("protocol", "/model/name", sentence))
    elif request.tools and profile.refuses_tools_while_reasoning and is_reasoning(settings, profile):
        advice = "use Responses, or set reasoning.effort to none"
        sentence = f"{request.model} refuses tools beside reasoning over {TITLE}; {advice}."
        refusals.append(ModelRefusal("tools", "/tools", sentence))
    return refusals


def unfit_messages(_: ChatRequest) -> list[ModelRefusal]:
    """Return nothing: messages are written in this protocol's words."""
    return []


def write_body(request: ChatRequest) -> dict[str, Any]:
    """Write the body; empty members are left out, for servers that support less."""
    settings = read_settings(request.parameters).without_idle_effort(request.profile.efforts)
    body: dict[str, Any] = {"model": request.model, "messages": list(request.messages), **settings.others}
    if settings.max_output_tokens is not None:
        body[_limit_name(settings.named["max_output_tokens"], request)] = settings.max_output_tokens
    if settings.summary is not None:
        # Another server's own object, such as OpenRouter's.
        body["reasoning"] = dict(request.parameters["reasoning"])
    elif settings.effort is not None:
        body["reasoning_effort"] = settings.effort
    body |= {"verbosity": settings.verbosity} if settings.verbosity is not None else {}
    if request.response_format and request.response_format.get("type") != "text":
        body["response_format"] = dict(request.response_format)
    if request.tools:
        body["tools"] = list(request.tools)
    return body


def _limit_name(named: str, request: ChatRequest) -> str:
    """Return the name of the limit: OpenAI's models that reason refuse the older one, and many other servers know no
    other."""
    is_new = request.profile.vendor == "openai" and (request.profile.reasons or named != "max_tokens")
    return "max_completion_tokens" if is_new or named == "max_completion_tokens" else "max_tokens"


def read_answer(document: Mapping[str, Any], latency_ms: float, request_id: str) -> Completion:
    """Read a completion, or raise a CallError."""
    choices = document.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if error := document.get("error") or (first.get("error") if isinstance(first, dict) else None):
        raise error_in_answer(error, request_id)
    if not isinstance(first, dict) or not isinstance(message, dict):
        raise garbled_error("The answer has no choices.", request_id)
    finish_reason = str(first.get("finish_reason") or "")
    if finish_reason == "error":
        raise error_in_answer("the provider ended it so", request_id)
    answer = read_content(message.get("content"), request_id)
    refusal, calls = message.get("refusal") or answer.refusal, _read_tool_calls(message.get("tool_calls"))
    if not answer.text and not refusal and not calls and finish_reason == "content_filter":
        raise CallError("call.filtered", "The provider's content filter withheld the answer.", Remedy.GIVE_UP)
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    return Completion(
        text=storable(answer.text),
        thinking=storable(answer.thinking or (reasoning if isinstance(reasoning, str) else "")),
        refusal=storable(str(refusal or "")),
        finish_reason=storable(finish_reason)[:30],
        tool_calls=calls,
        latency_ms=latency_ms,
        request_id=storable(request_id or str(document.get("id") or ""))[:100],
        model=storable(str(document.get("model") or "")),
        server_ms=_read_server_ms(document.get("timings")),
        **_read_usage(document.get("usage")),
    )


def _read_server_ms(timings: Any) -> float | None:
    """Return a server's own time for a call, as llama.cpp tells it: reading and writing, without the queue."""
    times = [timings.get(name) for name in ("prompt_ms", "predicted_ms")] if isinstance(timings, dict) else [None]
    numbers = [float(time) for time in times if isinstance(time, int | float) and 0 <= time < MAX_SERVER_MS]
    return sum(numbers) if len(numbers) == len(times) else None


def _read_tool_calls(calls: Any) -> list[dict[str, Any]] | None:
    if not isinstance(calls, list):
        return None
    functions = [call.get("function") for call in calls if isinstance(call, dict)]
    tool_calls = [
        {"name": storable(str(function.get("name", ""))), "arguments": storable(str(function.get("arguments", "")))}
        for function in functions
        if isinstance(function, dict)
    ]
    return tool_calls or None


def _read_usage(usage: Any) -> dict[str, Any]:
    """Read a server's token counts, 0 where it counted nothing."""
    usage = usage if isinstance(usage, dict) else {}
    question, answer = (usage.get(f"{part}_tokens_details") for part in ("prompt", "completion"))
    question, answer = (details if isinstance(details, dict) else {} for details in (question, answer))
    counts = {
        "tokens_in": usage.get("prompt_tokens"),
        # DeepSeek tells the cached ones beside the others.
        "tokens_cached": question.get("cached_tokens") or usage.get("prompt_cache_hit_tokens"),
        # OpenRouter's name, and Anthropic's own.
        "tokens_cache_write": question.get("cache_write_tokens") or usage.get("cache_creation_input_tokens"),
        "tokens_out": usage.get("completion_tokens"),
        "tokens_reasoning": answer.get("reasoning_tokens"),
    }
    counted = {name: read_count(value) for name, value in counts.items()}
    if read_count(usage.get("total_tokens")) == sum(
        counted[name] for name in ("tokens_in", "tokens_out", "tokens_reasoning")
    ):
        # xAI counts reasoning beside the completion, and bills both.
        counted["tokens_out"] = sum_counts(counted["tokens_out"], counted["tokens_reasoning"])
    return counted


class StreamedAnswer:
    """A streamed answer, put together from its chunks, which may have any shape at all."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._refusals: list[str] = []
        self._calls = StreamedToolCalls()
        self._size = 0
        self._finish = ""
        self._usage: Any = None
        self._model = self._id = ""

    def add(self, event: Mapping[str, Any]) -> str:
        self._model, self._id = str(event.get("model") or self._model), str(event.get("id") or self._id)
        self._usage = event.get("usage") or self._usage
        if error := event.get("error"):
            raise error_in_answer(error)
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, Mapping):
            return ""
        self._finish = str(choice.get("finish_reason") or self._finish)
        if (error := choice.get("error")) or self._finish == "error":
            raise error_in_answer(error or "the provider ended it so")
        delta = choice.get("delta")
        if not isinstance(delta, Mapping):
            return ""
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, Mapping):
                function = call.get("function")
                function = function if isinstance(function, Mapping) else {}
                pieces = (function.get("name"), function.get("arguments"))
                self._grow(self._calls.add(call.get("index"), call.get("id"), *pieces))
        if refusal := delta.get("refusal"):
            self._refusals.append(str(refusal))
            self._grow(len(str(refusal)))
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str):
            self._thoughts.append(thought)
            self._grow(len(thought))
        piece = read_content(delta.get("content"), streamed=True).text
        self._texts.append(piece)
        self._grow(len(piece))
        return piece

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_ANSWER_CHARACTERS:
            raise garbled_error("The answer does not end.")

    def completion(self, latency_ms: float) -> Completion:
        if not (self._texts or self._calls or self._refusals or self._finish):
            raise garbled_error("The stream ended without an answer.")
        answer = split_thinking("".join(self._texts))
        return Completion(
            text=storable(answer.text),
            thinking=storable(answer.thinking or "".join(self._thoughts)),
            refusal=storable("".join(self._refusals)),
            finish_reason=storable(self._finish)[:30],
            tool_calls=self._calls.as_list() or None,
            latency_ms=latency_ms,
            request_id=storable(self._id)[:100],
            model=storable(self._model),
            **_read_usage(self._usage),
        )


def stream_reader() -> StreamedAnswer:
    return StreamedAnswer()
