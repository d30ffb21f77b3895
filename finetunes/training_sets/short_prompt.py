"""The short prompt that a tuned model is asked with: what the examples and rules of a long one said, it has learned.

Pure. Out go examples, written or picked, and all instructions but one short one; what the user says, the response
format, the tools and the settings stay, so that services ask and read as before.
"""

import re
from collections.abc import Mapping
from typing import Any

from core.content import EXAMPLES_PLACEHOLDER
from registry.content.normalize import normalise

# The first sentence of the instructions, where it is short; it usually says what the task is.
LONGEST_SUGGESTED = 200
SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
PLAIN = re.compile(r"\{[{%#]")
INSTRUCTING = ("system", "developer")


def suggested(content: Mapping[str, Any]) -> str:
    """A first draft of the short instruction: the first sentence of the long one. Empty where none is plain text."""
    instructions = [one["content"] for one in content.get("messages", ()) if one["role"] in INSTRUCTING]
    text = instructions[0] if instructions else content.get("text", "") if content.get("kind") == "text" else ""
    for found in SENTENCE.finditer(text):
        sentence = found[0].strip()
        if sentence and not PLAIN.search(sentence):
            return sentence[:LONGEST_SUGGESTED]
    return ""


def minimal(content: Mapping[str, Any], instruction: str) -> dict[str, Any]:
    """A content with `instruction` in place of all instructions and examples, in normal form.

    Raises `content.invalid` where nothing is left to ask (a text prompt without a question of its own).
    """
    kept = {name: content[name] for name in ("model", "response", "tools", "variables") if name in content}
    if content["kind"] == "text":
        # One text is instruction, examples and question at once: its variables are what is asked.
        asked = "\n".join(f"{{{{ {name} }}}}" for name in content.get("variables", {}))
        messages = [*_told(instruction), {"role": "user", "content": asked}]
        return normalise(_without_unused({**kept, "kind": "chat", "messages": messages}))
    return normalise(_without_unused({**kept, "kind": "chat", "messages": [*_told(instruction), *_asked(content)]}))


def _asked(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is really asked: all that the user says, and earlier turns that a service puts in (a placeholder); of a
    conversation that shows how to answer, what comes after the last answer that it shows."""
    messages = content["messages"]
    shown = [place for place, one in enumerate(messages) if one["role"] == "assistant" or _is_examples(one)]
    after = messages[shown[-1] + 1 :] if shown else messages
    asked = [dict(one) for one in after if one["role"] in ("user", "placeholder")]
    return asked or [dict(one) for one in messages if one["role"] == "user"][-1:]


def _is_examples(message: Mapping[str, Any]) -> bool:
    return bool(message.get("name") == EXAMPLES_PLACEHOLDER)


def _told(instruction: str) -> list[dict[str, Any]]:
    return [{"role": "system", "content": instruction.strip()}] if instruction.strip() else []


def _without_unused(content: dict[str, Any]) -> dict[str, Any]:
    """Variables that only the instructions used are declared no more: a service may still send them."""
    text = "\n".join(str(one.get("content") or one.get("name")) for one in content["messages"])
    used = {name: one for name, one in content.get("variables", {}).items() if re.search(rf"\b{name}\b", text)}
    return {**content, "variables": used}
