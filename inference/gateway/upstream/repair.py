"""Telling a model once what is wrong with the form of its answer. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from evaluations.providers.chat import ChatRequest, Completion

# Of an answer that is said again to the model: a long one would cost more than it helps.
MAX_SAID_AGAIN = 20_000


def repair_request(request: ChatRequest, answer: Completion, faults: Sequence[str]) -> ChatRequest:
    """Return the request that asks again: the conversation, the answer, and what is wrong with it. A call of a tool is
    said again as text, because not every protocol takes one without its result."""
    said_before = answer.text or "\n".join(f"{call['name']}({call['arguments']})" for call in answer.tool_calls or ())
    listed = "\n".join(f"- {fault}" for fault in faults)
    correction = f"Your answer does not have the form that was asked for:\n{listed}\nAnswer again, in that form alone."
    turns = [{"role": "assistant", "content": said_before[:MAX_SAID_AGAIN] or "(empty)"}]
    return replace(request, messages=[*request.messages, *turns, {"role": "user", "content": correction}])
