"""A server of four protocols that is as strict as the providers': a member that the published reference does not have
is 400, and so is what the model refuses.

References: OpenAI, "Create a model response" and "Create chat completion" (developers.openai.com/api/reference), as the
types of its SDK 3.54 have them; Anthropic, "Create a Message" (platform.claude.com/docs/en/api/messages, SDK 2.14);
Google, "models.generateContent" (ai.google.dev/api/generate-content, SDK 3.6). Written from these, recorded nowhere.
"""

import json
from collections.abc import Mapping
from typing import Any

from tests.http_server import Handler

# A shape is a type, a list with one shape, a mapping of members (those with `!` are required), or choices.
Shape = Any
IMAGE_SOURCE = {"type!": {"base64", "url"}, "media_type": str, "data": str, "url": str}
CACHE = {"type!": {"ephemeral"}, "ttl": {"5m", "1h"}}
TEXT_BLOCK = {"type!": {"text"}, "text!": str, "cache_control": CACHE}
BLOCK = {
    **{"type!": {"text", "image", "tool_use", "tool_result"}, "text": str, "source": IMAGE_SOURCE, "id": str},
    **{"name": str, "input": dict, "tool_use_id": str, "content": [TEXT_BLOCK], "cache_control": CACHE},
}
ANTHROPIC = {
    "model!": str,
    "max_tokens!": int,
    "messages!": [{"role!": {"user", "assistant", "system"}, "content!": [BLOCK]}],
    "system": [TEXT_BLOCK],
    "stop_sequences": [str],
    "tools": [{"name!": str, "description": str, "input_schema!": dict, "strict": bool, "cache_control": CACHE}],
    "tool_choice": {"type!": {"auto", "any", "tool", "none"}, "name": str, "disable_parallel_tool_use": bool},
    "thinking": {
        **{"type!": {"adaptive", "enabled", "disabled"}, "budget_tokens": int},
        "display": {"summarized", "omitted"},
    },
    "output_config": {
        "effort": {"low", "medium", "high", "xhigh", "max"},
        "format": {"type!": {"json_schema"}, "schema!": dict},
    },
    "cache_control": CACHE,
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": int,
    "stream": bool,
}
RESPONSES_PART = {
    "type!": {"input_text", "output_text", "input_image", "refusal"},
    **{"text": str, "image_url": str, "detail": {"auto", "low", "high"}, "refusal": str},
}
RESPONSES = {
    "model!": str,
    "input!": [
        {
            "role": {"user", "assistant", "system", "developer"},
            "content": (str, [RESPONSES_PART]),
            "type": {"function_call", "function_call_output"},
            **{"call_id": str, "name": str, "arguments": str, "output": (str, [RESPONSES_PART])},
        }
    ],
    "store": bool,
    "max_output_tokens": int,
    "temperature": (int, float),
    "top_p": (int, float),
    "reasoning": {
        "effort": {"none", "minimal", "low", "medium", "high", "xhigh", "max"},
        "summary": {"auto", "concise", "detailed"},
    },
    "text": {
        "verbosity": {"low", "medium", "high"},
        "format": {"type!": {"json_schema", "json_object"}, "name": str, "schema": dict, "strict": bool},
    },
    "tools": [{"type!": {"function"}, "name!": str, "description": str, "parameters": dict, "strict!": bool}],
    "tool_choice": (str, {"type!": {"function"}, "name!": str}),
    "parallel_tool_calls": bool,
    "stream": bool,
}
CHAT = {
    "model!": str,
    "messages!": [dict],
    "max_completion_tokens": int,
    "reasoning_effort": {"none", "minimal", "low", "medium", "high", "xhigh", "max"},
    "verbosity": {"low", "medium", "high"},
    "response_format": dict,
    "tools": [{"type!": {"function"}, "function!": dict}],
    "tool_choice": (str, dict),
    "temperature": (int, float),
    "top_p": (int, float),
    "stop": (str, [str]),
    "seed": int,
    "stream": bool,
    "stream_options": {"include_usage": bool},
}
GEMINI_PART = {
    "text": str,
    "inlineData": {"mimeType!": str, "data!": str},
    "functionCall": {"id": str, "name!": str, "args": dict},
    "functionResponse": {"id": str, "name!": str, "response!": dict},
    "thoughtSignature": str,
}
GEMINI = {
    "contents!": [{"role!": {"user", "model"}, "parts!": [GEMINI_PART]}],
    "systemInstruction": {"parts!": [GEMINI_PART]},
    "tools": [{"functionDeclarations!": [{"name!": str, "description": str, "parametersJsonSchema": dict}]}],
    "toolConfig": {"functionCallingConfig!": {"mode!": {"AUTO", "ANY", "NONE"}, "allowedFunctionNames": [str]}},
    "generationConfig": {
        **{"temperature": (int, float), "topP": (int, float), "topK": int, "seed": int, "maxOutputTokens": int},
        **{"stopSequences": [str], "responseMimeType": str, "responseJsonSchema": dict},
        "thinkingConfig": {
            "includeThoughts": bool,
            "thinkingBudget": int,
            "thinkingLevel": {"MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"},
        },
    },
}
# Answers to everything, of each protocol: a text, what was thought, and counts.
RESPONSES_ANSWER: dict[str, Any] = {
    **{"id": "resp_1", "object": "response", "status": "completed", "model": "gpt-6-luna-2026-08-01", "error": None},
    "incomplete_details": None,
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {
            **{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"},
            "content": [{"type": "output_text", "text": "billing", "annotations": []}],
        },
    ],
    "usage": {
        **{"input_tokens": 100, "output_tokens": 50, "total_tokens": 150},
        "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 10},
        "output_tokens_details": {"reasoning_tokens": 30},
    },
}
ANTHROPIC_ANSWER: dict[str, Any] = {
    **{"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5", "stop_reason": "end_turn"},
    "stop_sequence": None,
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "text", "text": "billing", "citations": None},
    ],
    "usage": {
        **{"input_tokens": 26, "output_tokens": 50, "cache_read_input_tokens": 64, "cache_creation_input_tokens": 10},
        "output_tokens_details": {"thinking_tokens": 30},
    },
}
GEMINI_ANSWER: dict[str, Any] = {
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "billing"}]},
            "finishReason": "STOP",
            "index": 0,
        }
    ],
    "usageMetadata": {
        **{"promptTokenCount": 100, "cachedContentTokenCount": 64, "candidatesTokenCount": 20},
        **{"thoughtsTokenCount": 30, "totalTokenCount": 150},
    },
    "modelVersion": "gemini-3.8-flash",
    "responseId": "r1",
}
CHAT_ANSWER: dict[str, Any] = {
    **{"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-6-luna-2026-08-01"},
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "billing", "refusal": None, "reasoning_content": "hm"},
        }
    ],
    "usage": {
        **{"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
        "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 30},
    },
}
CALL = {"name": "look_up", "arguments": '{"order": 7}'}


def strict_server(**answers: Any) -> type[Handler]:
    """Return a handler that checks each request and answers it; `answers` replaces an answer by protocol's name, and
    `requests` of the class has what was sent."""

    class Strict(Handler):
        requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []

        def get(self) -> None:
            if self.path == "/v1beta/models?pageSize=1000":
                methods = {"supportedGenerationMethods": ["generateContent"]}
                embeds = {"name": "models/embeds", "supportedGenerationMethods": ["embedContent"]}
                return self.answer({"models": [{"name": "models/gemini-3.8-flash", **methods}, embeds]})
            if self.path == "/v1/models?limit=1000" and self.headers["anthropic-version"] == "2023-06-01":
                return self.answer(
                    {"data": [{"type": "model", "id": "claude-sonnet-5-5", "retires_at": None}], "has_more": False}
                )
            return self.answer({"object": "list", "data": [{"id": "gpt-6-luna", "object": "model"}]})

        def post(self) -> None:
            body = self.read_json()
            type(self).requests.append((self.path, dict(self.headers), body))
            name, shape = _protocol(self.path)
            if name == "gemini" and self.headers["x-goog-api-key"] != "right":
                return self.answer({"error": {"code": 403, "message": "No key.", "status": "PERMISSION_DENIED"}}, 403)
            if name == "anthropic_messages" and self.headers["x-api-key"] != "right":
                return self.answer({"type": "error", "error": {"type": "authentication_error", "message": "No."}}, 401)
            if fault := _fault(body, shape, "") or _refused_by_model(name, body):
                return self.answer(_error(name, fault), 400)
            answer = answers.get(name, ANSWERS[name])
            if body.get("stream") or "streamGenerateContent" in self.path:
                events = "".join(_events(name, answer))
                return self.answer_bytes(events.encode(), Content_Type="text/event-stream")
            return self.answer(answer)

    return Strict


ANSWERS = {
    "openai_responses": RESPONSES_ANSWER,
    "anthropic_messages": ANTHROPIC_ANSWER,
    "gemini": GEMINI_ANSWER,
    "openai_chat": CHAT_ANSWER,
}


def _protocol(path: str) -> tuple[str, Shape]:
    if path.startswith("/v1beta/models/"):
        return "gemini", GEMINI
    return {
        "/v1/responses": ("openai_responses", RESPONSES),
        "/v1/messages": ("anthropic_messages", ANTHROPIC),
        "/v1/chat/completions": ("openai_chat", CHAT),
    }[path]


def _fault(value: object, shape: Shape, where: str) -> str:
    """Return what is wrong with a value, or nothing."""
    if isinstance(shape, tuple):
        return "" if any(not _fault(value, each, where) for each in shape) else f"Invalid type for '{where}'."
    if isinstance(shape, set):
        return "" if value in shape else f"Invalid value for '{where}': {value!r}."
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"'{where}' must be a list."
        return next(filter(None, (_fault(each, shape[0], f"{where}[{n}]") for n, each in enumerate(value))), "")
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return f"'{where}' must be an object."
        spelled_by_name = {name.removesuffix("!"): name for name in shape}
        if unknown := sorted(value.keys() - spelled_by_name.keys()):
            return f"Unknown parameter: '{where}{unknown[0]}'."
        if missing := sorted(
            name for name, spelled in spelled_by_name.items() if spelled.endswith("!") and name not in value
        ):
            return f"Missing required parameter: '{where}{missing[0]}'."
        faults = (
            _fault(value[name], shape[spelled], f"{where}{name}.")
            for name, spelled in spelled_by_name.items()
            if name in value
        )
        return next(filter(None, faults), "")
    is_bool = isinstance(value, bool)
    return "" if isinstance(value, shape) and (shape is bool or not is_bool) else f"Invalid type for '{where}'."


def _refused_by_model(name: str, body: Mapping[str, Any]) -> str:
    """Return what models of today refuse: those of OpenAI and Anthropic take no temperature while they reason."""
    effort = body.get("reasoning_effort") or body.get("reasoning", {}).get("effort")
    if name in ("openai_chat", "openai_responses") and body.get("temperature", 1) != 1 and effort != "none":
        return "Unsupported value: 'temperature' does not support this value with this model."
    if name == "anthropic_messages" and "temperature" in body and "haiku-4" not in body["model"]:
        return "temperature is not supported by this model."
    if name == "openai_chat" and body.get("tools") and effort != "none":
        return f"Function tools with reasoning_effort are not supported for {body['model']}. Please use /v1/responses."
    return ""


def _error(name: str, message: str) -> dict[str, Any]:
    if name == "anthropic_messages":
        return {"type": "error", "error": {"type": "invalid_request_error", "message": message}, "request_id": "r"}
    if name == "gemini":
        return {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


def _events(name: str, answer: Mapping[str, Any]) -> list[str]:
    """Return an answer as the events of a stream, its text in two pieces."""
    if name == "gemini":
        candidate = answer["candidates"][0]
        first = {
            **answer,
            "candidates": [{"content": {"parts": candidate["content"]["parts"][:1]}}],
            "usageMetadata": {},
        }
        rest = {**candidate, "content": {"parts": candidate["content"]["parts"][1:]}}
        return [_event(first), _event({**answer, "candidates": [rest]})]
    if name == "openai_responses":
        deltas = [_event({"type": "response.output_text.delta", "delta": piece}) for piece in ("bill", "ing")]
        created = _event({"type": "response.created", "response": {"status": "in_progress", "output": []}})
        last = {"completed": "completed", "incomplete": "incomplete"}.get(str(answer["status"]), "failed")
        return [created, *deltas, _event({"type": f"response.{last}", "response": answer})]
    if name == "openai_chat":
        return _chat_events(answer)
    return _message_events(answer)


def _chat_events(answer: Mapping[str, Any]) -> list[str]:
    message = answer["choices"][0]["message"]
    text = message.get("content") or ""
    deltas: list[dict[str, Any]] = [{"reasoning_content": message.get("reasoning_content")}]
    deltas += [{"content": piece} for piece in (text[:4], text[4:]) if piece]
    for index, call in enumerate(message.get("tool_calls") or ()):
        deltas.append({"tool_calls": [{"index": index, "id": call["id"], "function": call["function"]}]})
    about = {"id": answer["id"], "model": answer["model"]}
    chunks = [{**about, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append(
        {**about, "choices": [{"index": 0, "delta": {}, "finish_reason": answer["choices"][0]["finish_reason"]}]}
    )
    return [*map(_event, [*chunks, {**about, "choices": [], "usage": answer["usage"]}]), "data: [DONE]\n\n"]


def _message_events(answer: Mapping[str, Any]) -> list[str]:
    usage = {**answer["usage"], "output_tokens": 1}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**answer, "content": [], "stop_reason": None, "usage": usage}},
        {"type": "ping"},
    ]
    for index, block in enumerate(answer["content"]):
        kind = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}[block["type"]]
        member = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}[kind]
        text = json.dumps(block["input"]) if block["type"] == "tool_use" else block[member]
        start = {**block, "input": {}} if block["type"] == "tool_use" else {**block, member: ""}
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        deltas = [{"type": kind, member: piece} for piece in (text[:4], text[4:])]
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": answer["stop_reason"]}, "usage": answer["usage"]})
    return [f"event: {event['type']}\n{_event(event)}" for event in [*events, {"type": "message_stop"}]]


def _event(document: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(document)}\n\n"
