"""Versions by the contract of LiteLLM's generic prompt management, so that its SDK and proxy can read from here. Pure.

Their client puts a value in place of `{name}`, in texts only, and appends the messages of the call to those of the
prompt: a placeholder is what stands last, and everything else that would stay in the text is refused in words.
"""

import re
from collections.abc import Mapping
from typing import Any

from core.messages import message_templates, write_message
from core.model_settings import read_settings
from core.rendering import response_format
from registry.interop.plain_templates import PLAIN_VARIABLE, Client, Content, plain_text

LITELLM = Client("LiteLLM", "litellm.needs_rendering")


def litellm_prompt(content: Content, partials: Mapping[str, Content]) -> dict[str, Any]:
    """Return `prompt_template`, `prompt_template_model` and `prompt_template_optional_params` of a version; `partials`
    has all that it includes, by hash. Raises `litellm.needs_rendering`."""
    if "examples" in content:
        raise LITELLM.refusal("examples", "The version picks examples, which LiteLLM cannot do")
    if "retrieval" in content:
        raise LITELLM.refusal("retrieval", "The version searches a collection, which LiteLLM cannot do")
    if content["kind"] == "text":
        messages = [{"role": "user", "content": _text(content["text"], content, partials)}]
    else:
        messages = _messages(content, partials)
    name = content.get("model", {}).get("name")
    return {
        "prompt_template": messages,
        "prompt_template_model": name or None,
        "prompt_template_optional_params": _parameters(content),
    }


def _messages(content: Content, partials: Mapping[str, Content]) -> list[dict[str, Any]]:
    *first, last = content["messages"]
    # Where LiteLLM puts the messages of the call.
    rest = first if last["role"] == "placeholder" else [*first, last]
    messages = []
    for message in rest:
        if message["role"] == "placeholder":
            sentence = f"LiteLLM appends messages, and {message['name']} stands before others"
            raise LITELLM.refusal(message["name"], sentence)
        messages.append(_message(message, content, partials))
    return messages


def _message(message: Mapping[str, Any], content: Content, partials: Mapping[str, Content]) -> dict[str, Any]:
    sources = dict(message_templates(message, ""))
    is_text = isinstance(message.get("content"), str)

    def write(pointer: str) -> str:
        text = _text(sources[pointer], content, partials)
        if not (is_text and pointer == "/content") and PLAIN_VARIABLE.search(sources[pointer]):
            raise LITELLM.refusal(pointer, "LiteLLM fills in texts only, and the version has a name elsewhere")
        return text

    return write_message(message, "", write, is_checked=False)


def _text(source: str, content: Content, partials: Mapping[str, Content]) -> str:
    """Return a text with `{name}` for each variable."""
    text = plain_text(LITELLM, source, content, partials)
    names = set(PLAIN_VARIABLE.findall(text))
    rest = PLAIN_VARIABLE.sub("", text)
    for name in sorted(names):
        if f"{{{name}}}" in rest:
            raise LITELLM.refusal(name, f"The text has {{{name}}} beside the variable, and LiteLLM would fill in both")
    return re.sub(PLAIN_VARIABLE, lambda match: f"{{{match[1]}}}", text)


def _parameters(content: Content) -> dict[str, Any]:
    """Return settings by LiteLLM's words. Those that change no answer (`prompt_cache`, `reasoning.summary`) are not in
    it."""
    settings = read_settings(content.get("model", {}))
    own = {
        "max_tokens": settings.max_output_tokens,
        "reasoning_effort": settings.effort,
        "verbosity": settings.verbosity,
    }
    parameters = {**settings.others, **{name: value for name, value in own.items() if value is not None}}
    if "response" in content:
        parameters["response_format"] = response_format(content["response"])
    if "tools" in content:
        parameters["tools"] = content["tools"]
    return parameters
