"""Short prompts for tuned models, which have learned what the examples and rules of a long prompt said.

Pure. Examples, written or picked, and all instructions but one short one are left out; user messages, the response
format, the tools and the settings stay, so that services ask and read as before.
"""

import re
from collections.abc import Mapping
from typing import Any

from core.content import EXAMPLES_PLACEHOLDER, templates
from core.errors import Problem
from core.messages import text_of
from registry.content.normalize import normalise

# The first sentence of the instructions is suggested, up to this length; it usually states the task.
MAX_SUGGESTION_LENGTH = 200
SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
# A variable that a text writes out, with whatever filters.
WRITTEN_VARIABLE = re.compile(r"\{\{-?\s*([^\W\d]\w*)")
TEMPLATE_CODE = re.compile(r"\{[{%#]")
INSTRUCTION_ROLES = ("system", "developer")
QUESTION_ROLES = ("user", "placeholder", "tool")


def suggest_instruction(content: Mapping[str, Any]) -> str:
    """Suggest a short instruction: the first sentence of the long one. Empty where none is plain text."""
    instructions = [text_of(message) for message in content.get("messages", ()) if message["role"] in INSTRUCTION_ROLES]
    text = instructions[0] if instructions else content.get("text", "") if content.get("kind") == "text" else ""
    for match in SENTENCE.finditer(text):
        sentence = match[0].strip()
        if sentence and not TEMPLATE_CODE.search(sentence):
            return sentence[:MAX_SUGGESTION_LENGTH]
    return ""


def make_short_prompt(content: Mapping[str, Any], instruction: str) -> dict[str, Any]:
    """Make a content with `instruction` in place of all instructions and examples, in normal form.

    Raises `content.invalid` where nothing is left to ask (a text prompt without a question of its own).
    """
    members = {name: content[name] for name in ("model", "response", "tools", "variables") if name in content}
    if content["kind"] == "text":
        # One text is instruction, examples and question at once: its variables are the question.
        names = dict.fromkeys([*content.get("variables", {}), *WRITTEN_VARIABLE.findall(content["text"])])
        if not names:
            raise Problem("content.invalid", "Nothing is left to ask: this text has no variable.")
        question = "\n".join(f"{{{{ {name} }}}}" for name in names)
        messages = [*_instruction_messages(instruction), {"role": "user", "content": question}]
        return normalise(_without_unused({**members, "kind": "chat", "messages": messages}))
    return normalise(
        _without_unused(
            {**members, "kind": "chat", "messages": [*_instruction_messages(instruction), *_question_messages(content)]}
        )
    )


def _question_messages(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of the question: all user messages, and placeholders for earlier turns; in a conversation
    that shows examples, only what follows the last example answer. Calls of tools and their results are part of it."""
    messages = content["messages"]
    example_positions = [
        position
        for position, message in enumerate(messages)
        if (message["role"] == "assistant" and "tool_calls" not in message) or _is_examples(message)
    ]
    after = messages[example_positions[-1] + 1 :] if example_positions else messages
    questions = [dict(message) for message in after if message["role"] in QUESTION_ROLES or "tool_calls" in message]
    return questions or [dict(message) for message in messages if message["role"] == "user"][-1:]


def _is_examples(message: Mapping[str, Any]) -> bool:
    return bool(message.get("name") == EXAMPLES_PLACEHOLDER)


def _instruction_messages(instruction: str) -> list[dict[str, Any]]:
    return [{"role": "system", "content": instruction.strip()}] if instruction.strip() else []


def _without_unused(content: dict[str, Any]) -> dict[str, Any]:
    """Drop declarations of variables that only the instructions used; a service may still send them."""
    text = "\n".join([*templates(content).values(), *(str(message.get("name", "")) for message in content["messages"])])
    used = {
        name: declaration
        for name, declaration in content.get("variables", {}).items()
        if re.search(rf"\b{name}\b", text)
    }
    return {**content, "variables": used}
