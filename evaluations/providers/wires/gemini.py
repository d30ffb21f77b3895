"""Google's Gemini API, as its published reference has it (POST /v1beta/models/{model}:generateContent). Pure.

Not through its layer of OpenAI's protocol: that tells neither the tokens of thinking, which are billed, nor the cached
ones.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.model_settings import ModelSettings, read_settings
from evaluations.providers.answer_shapes import (
    MAX_ANSWER_CHARACTERS,
    error_in_answer,
    garbled_error,
    read_count,
    sum_counts,
    unreadable_error,
)
from evaluations.providers.chat import CallError, ChatRequest, Completion, Remedy, storable
from evaluations.providers.wires.turns import (
    add_turn,
    chosen_function,
    filled_parts,
    instructions_of,
    split_data_address,
    unfit_shared,
    unfit_tools,
    unfit_turns,
    unknown_settings,
)
from registry.content.model_profiles.refusals import ModelRefusal

TITLE = "Gemini"
NAMES = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "media_resolution": "mediaResolution",
}
WRITTEN = frozenset({"stop", "tool_choice", "safety_settings"})
STOPS = {"STOP": "stop", "MAX_TOKENS": "length", "FINISH_REASON_UNSPECIFIED": ""}
# Whatever else ends an answer: its text is withheld.
FILTERED = frozenset(
    {
        *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"),
        *("IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "IMAGE_OTHER", "NO_IMAGE", "MODEL_ARMOR"),
    }
)
LEVELS = ("minimal", "low", "medium", "high", "xhigh")
# Models of before thinking levels take a number of tokens.
BUDGETS = {"none": 0, "minimal": 512, "low": 1_024, "medium": 8_192, "high": 24_576}
BUDGET_MODELS = "gemini-2"
# What its reference gives for calls that the model has not made itself, such as those in a prompt.
NO_SIGNATURE = "skip_thought_signature_validator"


def unfit_settings(request: ChatRequest) -> list[ModelRefusal]:
    settings = read_settings(request.parameters)
    refusals = unknown_settings(settings, NAMES.keys() | WRITTEN, TITLE)
    refusals += unfit_shared(settings, TITLE)
    refusals += unfit_tools(request.tools, TITLE)
    refusals += [
        ModelRefusal(name, f"/model/{name}", f"{TITLE} has no {name}; leave it out.")
        for name in ("verbosity", "prompt_cache")
        if getattr(settings, name) is not None
    ]
    if settings.effort is not None and _is_beyond(settings.effort, request.model):
        sentence = f"{request.model} has no effort {settings.effort}."
        refusals.append(ModelRefusal("reasoning.effort", "/model/reasoning/effort", sentence))
    if any(tool["function"].get("strict") for tool in request.tools):
        sentence = f"{TITLE} has no strict tools; leave strict out."
        refusals.append(ModelRefusal("tools", "/tools", sentence))
    return refusals


def _is_beyond(effort: str, model: str) -> bool:
    return effort not in (BUDGETS if _has_budget(model) else LEVELS)


def _has_budget(model: str) -> bool:
    return model.removeprefix("models/").startswith(BUDGET_MODELS)


def unfit_messages(request: ChatRequest) -> list[ModelRefusal]:
    return [*unfit_turns(request.messages, TITLE), *_unfit_images(request.messages)]


def _unfit_images(messages: Sequence[Mapping[str, Any]]) -> Iterator[ModelRefusal]:
    for index, message in enumerate(messages):
        content = message.get("content")
        for number, part in enumerate(content if isinstance(content, list) else ()):
            pointer = f"/messages/{index}/content/{number}/image_url"
            if part["type"] != "image_url":
                continue
            if message["role"] == "tool":
                sentence = f"{TITLE} takes no images in a tool's result here; say it in words."
                yield ModelRefusal("images", pointer, sentence)
            elif not str(part["image_url"]["url"]).startswith("data:"):
                sentence = f"{TITLE} needs the image itself and no address; upload it."
                yield ModelRefusal("images", f"{pointer}/url", sentence)


def write_body(request: ChatRequest) -> dict[str, Any]:
    settings = read_settings(request.parameters).without_idle_effort(request.profile.efforts)
    instructions = instructions_of(request.messages)
    body: dict[str, Any] = {"contents": _contents(request.messages[len(instructions) :])}
    if parts := [part for message in instructions for part in _parts(message.get("content"))]:
        body["systemInstruction"] = {"parts": parts}
    if generation := _generation(request, settings):
        body["generationConfig"] = generation
    if request.tools:
        body["tools"] = [{"functionDeclarations": [_declaration(tool["function"]) for tool in request.tools]}]
    if (choice := settings.others.get("tool_choice")) is not None:
        body["toolConfig"] = {"functionCallingConfig": _calling(choice)}
    if (safety := settings.others.get("safety_settings")) is not None:
        body["safetySettings"] = safety
    return body


def _generation(request: ChatRequest, settings: ModelSettings) -> dict[str, Any]:
    generation = {NAMES[name]: value for name, value in settings.others.items() if name in NAMES}
    if settings.max_output_tokens is not None:
        generation["maxOutputTokens"] = settings.max_output_tokens
    if (stop := settings.others.get("stop")) is not None:
        generation["stopSequences"] = [stop] if isinstance(stop, str) else list(stop)
    kind = (request.response_format or {}).get("type")
    if kind in ("json_object", "json_schema"):
        generation["responseMimeType"] = "application/json"
    if kind == "json_schema":
        generation["responseJsonSchema"] = (request.response_format or {})["json_schema"]["schema"]
    thinking: dict[str, Any] = {"includeThoughts": True} if settings.summary is not None else {}
    if settings.effort is not None and _has_budget(request.model):
        thinking["thinkingBudget"] = BUDGETS[settings.effort]
    elif settings.effort is not None:
        thinking["thinkingLevel"] = settings.effort.upper()
    return {**generation, "thinkingConfig": thinking} if thinking else generation


def _declaration(function: Mapping[str, Any]) -> dict[str, Any]:
    declaration = {"name": function["name"]}
    if function.get("description"):
        declaration["description"] = function["description"]
    if function.get("parameters"):
        declaration["parametersJsonSchema"] = function["parameters"]
    return declaration


def _calling(choice: object) -> dict[str, Any]:
    if name := chosen_function(choice):
        return {"mode": "ANY", "allowedFunctionNames": [name]}
    return {"mode": {"required": "ANY", "none": "NONE"}.get(str(choice), "AUTO")}


def _contents(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Write the turns: of the user and of the model; results of tools are named by their function, not by a call."""
    contents: list[dict[str, Any]] = []
    called: dict[str, str] = {}
    for message in messages:
        role = "model" if message["role"] == "assistant" else "user"
        if message["role"] == "tool":
            call_id = message["tool_call_id"]
            result = "".join(part.get("text", "") for part in _parts(message.get("content")))
            response = {"id": call_id, "name": called.get(call_id, call_id), "response": {"result": result}}
            parts: list[dict[str, Any]] = [{"functionResponse": response}]
        else:
            parts = _parts(message.get("content"))
        for call in message.get("tool_calls") or ():
            name = call["function"]["name"]
            called[call["id"]] = name
            arguments = json.loads(call["function"]["arguments"])
            called_part = {"functionCall": {"id": call["id"], "name": name, "args": arguments}}
            parts.append({**called_part, "thoughtSignature": NO_SIGNATURE})
        add_turn(contents, role, "parts", parts)
    return contents


def _parts(content: object) -> list[dict[str, Any]]:
    return [_part(part) for part in filled_parts(content)]


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"text": part["text"]}
    media_type, data = split_data_address(str(part["image_url"]["url"]))
    return {"inlineData": {"mimeType": media_type, "data": data}}


def read_answer(document: Mapping[str, Any], latency_ms: float, request_id: str) -> Completion:
    """Read an answer, or raise a CallError."""
    stream = ContentStream()
    stream.add(document)
    return stream.completion(latency_ms, request_id)


class ContentStream:
    """Each event is an answer of its own with some parts; the counts of the last one are those of the whole."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[dict[str, str]] = []
        self._finish = ""
        self._usage: Mapping[str, Any] = {}
        self._model = self._id = ""
        self._block_reason = ""
        self._size = 0

    def add(self, event: Mapping[str, Any]) -> str:
        if error := event.get("error"):
            raise error_in_answer(error)
        usage, feedback = event.get("usageMetadata"), event.get("promptFeedback")
        self._usage = usage if isinstance(usage, Mapping) else self._usage
        self._model, self._id = (
            str(event.get("modelVersion") or self._model),
            str(event.get("responseId") or self._id),
        )
        if isinstance(feedback, Mapping) and feedback.get("blockReason"):
            self._block_reason = str(feedback["blockReason"])
        candidates = event.get("candidates")
        candidate = candidates[0] if isinstance(candidates, list) and candidates else None
        if not isinstance(candidate, Mapping):
            return ""
        self._finish = str(candidate.get("finishReason") or self._finish)
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, Mapping) else None
        return "".join(self._add_part(part) for part in (parts if isinstance(parts, list) else ()))

    def _add_part(self, part: object) -> str:
        members = part if isinstance(part, Mapping) else {}
        text, call = members.get("text"), members.get("functionCall")
        if isinstance(call, Mapping):
            arguments = json.dumps(call.get("args") or {}, ensure_ascii=False)
            self._calls.append({"name": storable(str(call.get("name") or "")), "arguments": storable(arguments)})
            return ""
        if not isinstance(text, str):
            if members.keys() <= {"thoughtSignature", "thought"} and members:
                return ""
            kinds = ", ".join(map(str, members))[:60]
            raise unreadable_error(f"The answer has a part that is not text: {kinds!r}", self._id)
        self._size += len(text)
        if self._size > MAX_ANSWER_CHARACTERS:
            raise garbled_error("The answer does not end.")
        (self._thoughts if members.get("thought") else self._texts).append(text)
        return "" if members.get("thought") else text

    def completion(self, latency_ms: float, request_id: str = "") -> Completion:
        text = "".join(self._texts)
        if self._block_reason or (self._finish in FILTERED and not (text or self._calls)):
            reason = self._block_reason or self._finish
            raise CallError("call.filtered", f"The provider withheld the answer: {reason[:60]}.", Remedy.GIVE_UP)
        if not self._finish:
            raise garbled_error("The answer ended before it was whole.", request_id)
        finish = "content_filter" if self._finish in FILTERED else STOPS.get(self._finish, self._finish.lower())
        thoughts = read_count(self._usage.get("thoughtsTokenCount"))
        return Completion(
            text=storable(text),
            thinking=storable("".join(self._thoughts)),
            finish_reason="tool_calls" if self._calls and finish == "stop" else storable(finish)[:30],
            tool_calls=self._calls or None,
            tokens_in=sum_counts(
                read_count(self._usage.get("promptTokenCount")), read_count(self._usage.get("toolUsePromptTokenCount"))
            ),
            tokens_cached=read_count(self._usage.get("cachedContentTokenCount")),
            # Its candidates are counted without what the model thought, and both are billed as output.
            tokens_out=sum_counts(read_count(self._usage.get("candidatesTokenCount")), thoughts),
            tokens_reasoning=thoughts,
            latency_ms=latency_ms,
            request_id=storable(request_id or self._id)[:100],
            model=storable(self._model),
        )


def stream_reader() -> ContentStream:
    return ContentStream()
