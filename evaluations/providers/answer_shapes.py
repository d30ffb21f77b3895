"""What servers are known to put where an answer's text, error or counts should be, read into one shape. Pure.

Each member may be absent, null or of another JSON type. What can be read is; what never can be is refused at once, so
that nobody pays for the same answer again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from evaluations.providers.chat import CallError, Remedy, storable

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
TEXT_PARTS = frozenset({"text", "output_text"})
THINKING_PARTS = frozenset({"thinking", "reasoning", "redacted_thinking"})
MAX_DETAIL_LENGTH = 1_000
# A longer text is not an answer to a prompt; it would only fill the memory.
MAX_ANSWER_CHARACTERS = 2_000_000
# What servers call an account without money.
NO_CREDIT = frozenset(
    {
        *("insufficient_quota", "insufficient_credits", "insufficient_balance"),
        *("billing_hard_limit_reached", "billing_not_active"),
    }
)


# The statuses that names of errors stand for, where a stream or a 200 has the name alone.
OVERLOADED = 529
ERROR_NAMES = {
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error"), 429),
    **{"authentication_error": 401, "permission_error": 403, "billing_error": 402},
    **dict.fromkeys(("model_not_found", "not_found_error"), 404),
    **{"invalid_request_error": 400, "request_too_large": 413, "overloaded_error": OVERLOADED},
}


@dataclass(frozen=True)
class AnswerText:
    """The text of an answer, and beside it what the model thought or refused."""

    text: str = ""
    thinking: str = ""
    refusal: str = ""


def read_content(content: object, request_id: str = "", *, streamed: bool = False) -> AnswerText:
    """Read a message's content: text, nothing, or a list of parts; `streamed`: a piece of one, in which thinking aloud
    cannot be told yet. Raises a CallError that is not retried for any other shape."""
    if content is None:
        return AnswerText()
    if isinstance(content, str):
        return AnswerText(content) if streamed else split_thinking(content)
    if not isinstance(content, list):
        raise unreadable_error(f"The answer's content is neither text nor a list: {type(content).__name__}", request_id)
    texts, thoughts, refusals = [], [], []
    for part in content:
        kind = part.get("type", "text") if isinstance(part, dict) else "text"
        kind = kind if isinstance(kind, str) else "?"
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and kind in TEXT_PARTS and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, dict) and kind in THINKING_PARTS:
            thoughts.append(_thought(part))
        elif isinstance(part, dict) and kind == "refusal" and isinstance(part.get("refusal"), str):
            refusals.append(part["refusal"])
        else:
            raise unreadable_error(f"The answer has a part that is not text: {str(kind)[:60]!r}", request_id)
    answer = AnswerText("".join(texts)) if streamed else split_thinking("".join(texts))
    return AnswerText(answer.text, "".join(thoughts) + answer.thinking, "".join(refusals))


def _thought(part: Mapping[str, Any]) -> str:
    """Return a thinking part's text; it may be a text or a list of text parts, or hidden."""
    thought = part.get("thinking") or part.get("reasoning") or part.get("text") or ""
    if isinstance(thought, list):
        return "".join(str(piece.get("text", "")) for piece in thought if isinstance(piece, dict))
    return thought if isinstance(thought, str) else ""


def split_thinking(text: str) -> AnswerText:
    """Keep what a model thought aloud, before its answer, apart from the answer."""
    start = text.lstrip()
    if not start.startswith(THINK_OPEN):
        return AnswerText(text)
    thinking, closed, answer = start.removeprefix(THINK_OPEN).partition(THINK_CLOSE)
    return AnswerText(answer.lstrip() if closed else "", thinking.strip())


def error_in_answer(error: object, request_id: str = "") -> CallError:
    """Return the CallError that a 200 with an error inside means, by the status or the words that the error names."""
    members = error if isinstance(error, Mapping) else {}
    message = members.get("message", error) if members else error
    detail = storable(f"Answered 200 with an error: {message!s}"[:MAX_DETAIL_LENGTH])
    names = {str(members.get(member) or "") for member in ("code", "type")}
    status = next((int(name) for name in names if name.isascii() and name.isdecimal() and len(name) == 3), 0)
    named = next((ERROR_NAMES[name] for name in names if name in ERROR_NAMES), 0)
    status = status or named
    if status == 402 or names & NO_CREDIT:
        code, remedy = "call.no_credit", Remedy.CONFIGURE
    elif status == 429:
        code, remedy = "call.rate_limited", Remedy.RETRY
    elif status in (401, 403):
        code, remedy = "call.not_allowed", Remedy.CONFIGURE
    elif status == 404:
        code, remedy = "call.unknown_model", Remedy.CONFIGURE
    elif named == OVERLOADED:
        code, remedy = "call.overloaded", Remedy.RETRY
    elif (400 <= status < 500 and status not in (408, 409, 425)) or any(name.startswith("invalid_") for name in names):
        code, remedy = "call.refused", Remedy.GIVE_UP
    else:
        code, remedy = "call.garbled", Remedy.RETRY
    return CallError(code, detail, remedy, request_id=request_id)


def read_object(text: str, request_id: str = "") -> Mapping[str, Any]:
    """Read the body of a 200 as a JSON object, or raise a CallError."""
    try:
        document = orjson.loads(text)
    except ValueError:
        start = text.lstrip()[:80]
        what = "an HTML page" if start.startswith("<") else "something that is not JSON"
        raise garbled_error(f"Answered 200 with {what}: {start!r}", request_id) from None
    if not isinstance(document, dict):
        raise garbled_error("The answer is not a JSON object.", request_id)
    return document


def garbled_error(detail: str, request_id: str = "") -> CallError:
    return CallError("call.garbled", storable(detail[:MAX_DETAIL_LENGTH]), Remedy.RETRY, request_id=request_id)


def unreadable_error(detail: str, request_id: str = "") -> CallError:
    """Return the error of an answer that a retry would only pay for again."""
    return CallError("call.unreadable", storable(detail[:MAX_DETAIL_LENGTH]), Remedy.GIVE_UP, request_id=request_id)


def read_count(value: object) -> int:
    """Read a count of tokens: a whole number, also as `1200.0`; 0 where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or not 0 <= value < 2**31:
        return 0
    return int(value) if int(value) == value else 0


def sum_counts(*counts: int) -> int:
    """Return the sum of counts that were read; 0, as for a single one, where it is beyond what a column holds."""
    return read_count(sum(counts))


class StreamedToolCalls:
    """Tool calls of a stream, put together from their pieces. Pieces of one call share an index or an id; some servers
    send one index for all, or none, and tell calls apart by id alone."""

    def __init__(self) -> None:
        self._calls: list[dict[str, str]] = []
        self._latest: dict[int | None, tuple[str, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, index: object, call_id: object, name: object, arguments: object) -> int:
        """Add a piece; returns how many characters it has."""
        place = index if isinstance(index, int) and not isinstance(index, bool) else None
        identity = call_id if isinstance(call_id, str) else ""
        current = self._latest.get(place)
        if current is None or (identity and current[0] and identity != current[0]):
            self._calls.append({"name": "", "arguments": ""})
            current = (identity, len(self._calls) - 1)
        self._latest[place] = (current[0] or identity, current[1])
        call = self._calls[current[1]]
        pieces = {"name": name, "arguments": arguments}
        for member, piece in pieces.items():
            call[member] += piece if isinstance(piece, str) else ""
        return sum(len(piece) for piece in pieces.values() if isinstance(piece, str))

    def as_list(self) -> list[dict[str, str]]:
        return [{member: storable(text) for member, text in call.items()} for call in self._calls]
