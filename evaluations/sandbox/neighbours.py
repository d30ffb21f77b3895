"""An engine without a model: it answers as the nearest example does.

Examples come from the conversation (what a user said and an assistant answered), from "Input: ... Output: ..." in a
text, and from tuning. Without any it guesses among the names that the instructions or the schema list, by the words
that stand beside them. So more and nearer examples do better, a schema is kept to, a prompt that asks for JSON in
passing gets prose now and then, and all of it is the same each time at temperature 0.
"""

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluations.sandbox.engine import Reply
from registry.examples.tfidf import Lexicon, terms

Pair = tuple[str, str]
# The larger one weighs more examples, is slower and costs more.
VOICES = {"sandbox-small": 1, "sandbox-large": 5}
# A base that is about to end, so that one can see what pages say of such a model.
SHUTDOWN_DATES: dict[str, str | None] = {"sandbox-small": None, "sandbox-large": None, "sandbox-retired": "2026-12-31"}
WRITTEN_PAIR = re.compile(
    r"(?:Input|Ticket|Question|Text):\s*(?P<input>.+?)\s*\n\s*(?:Output|Label|Answer|Category):\s*(?P<output>.+?)\s*(?=\n\s*\n|\n\s*(?:Input|Ticket|Question|Text):|\Z)",
    re.IGNORECASE | re.DOTALL,
)
LISTED = re.compile(r"^\s*[-*]\s*`?(?P<name>[a-z][\w-]*)`?\s*[:–-]\s*(?P<about>.+)$", re.MULTILINE)
LONGEST_TEXT = 20_000
MOST_COMPOSED = 20
MOST_PAIRS = 20_000
# Tuning on labels fits weights (ridge regression in the kernel of the wording); more pairs would take too long.
MOST_FITTED, MOST_LABELS, RIDGE = 2_000, 100, 0.1
EMBEDDING_SIZE = 256


@dataclass(frozen=True)
class _Tuned:
    """`weights` has what each pair says for each of `labels`, where tuning was on labels."""

    base: str
    pairs: Sequence[Pair]
    lexicon: Lexicon
    labels: Sequence[str] = ()
    weights: NDArray[np.float64] | None = None


class Neighbours:
    def __init__(self) -> None:
        self._tuned: dict[str, _Tuned] = {}

    def models(self) -> Mapping[str, str | None]:
        return {**SHUTDOWN_DATES, **dict.fromkeys(self._tuned)}

    def reply(self, body: Mapping[str, Any]) -> Reply:
        model = str(body["model"])
        if model not in self.models():
            raise KeyError(model)
        tuned = self._tuned.get(model)
        voices = VOICES.get(tuned.base if tuned else model, 1)
        asked = _Asked.read(body["messages"])
        text = self._answer(body, asked, tuned, voices)
        tokens_in = sum(_tokens(str(one.get("content") or "")) + 4 for one in body["messages"])
        most = body.get("max_tokens") or body.get("max_completion_tokens")
        finish = "stop"
        if isinstance(most, int) and _tokens(text) > most:
            text, finish = text[: max(0, most) * 4], "length"
        tokens_out = max(1, _tokens(text))
        # A larger model reads and writes more slowly; every model writes more slowly than it reads.
        seconds = (0.02 + 0.00004 * tokens_in + 0.002 * tokens_out) * (1 + voices / 4)
        return Reply(text, tokens_in, tokens_out, seconds, finish)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [_embedded(text) for text in texts]

    def tune(self, base: str, name: str, examples: Sequence[Mapping[str, Any]], epochs: int) -> list[float]:
        if base not in self.models():
            raise KeyError(base)
        pairs = [pair for one in examples for pair in _Asked.read(one["messages"], answered=True).pairs][:MOST_PAIRS]
        before = self._tuned.get(base)
        pairs = [*(before.pairs if before else ()), *pairs]
        self._tuned[name] = _fitted_to(before.base if before else base, pairs)
        # What a curve looks like: no model is trained.
        steps = max(1, len(examples) * epochs // 8)
        return [round(0.15 + 1.6 * float(np.exp(-3 * step / steps)), 4) for step in range(1, steps + 1)]

    def _answer(self, body: Mapping[str, Any], asked: "_Asked", tuned: _Tuned | None, voices: int) -> str:
        schema = _schema_of(body)
        lot = random.Random(_lot(body))  # noqa: S311 - the same request draws the same, which is what is wanted
        known = self._from_examples(asked, tuned, voices, lot, float(body.get("temperature") or 0))
        if known is None:
            known = _guess(asked, schema)
        if schema is not None:
            if _asks_for_cases(schema):
                return json.dumps({"cases": _composed(asked, schema, lot)}, ensure_ascii=False)
            return json.dumps(_fitted(known, schema, asked), ensure_ascii=False)
        wants_json = (body.get("response_format") or {}).get("type") == "json_object"
        if wants_json and _as_json(known) is None:
            return json.dumps({"answer": known}, ensure_ascii=False)
        if not wants_json and not asked.pairs and tuned is None and "json" in asked.instructions.lower():
            return _told_loosely(known, asked, lot)
        return known

    def _from_examples(
        self, asked: "_Asked", tuned: _Tuned | None, voices: int, lot: random.Random, temperature: float
    ) -> str | None:
        if tuned and tuned.weights is not None and not asked.pairs:
            return tuned.labels[int(np.argmax(tuned.lexicon.scores(asked.query) @ tuned.weights))]
        found: list[tuple[float, str]] = []
        if asked.pairs:
            scores = Lexicon([said for said, _ in asked.pairs]).scores(asked.query)
            found += [(float(score), answer) for score, (_, answer) in zip(scores, asked.pairs, strict=True)]
        if tuned and tuned.pairs:
            scores = tuned.lexicon.scores(asked.query)
            best = np.argsort(-scores, kind="stable")[:50]
            found += [(float(scores[place]), tuned.pairs[place][1]) for place in best]
        if not found:
            return None
        found.sort(key=lambda one: -one[0])
        votes: dict[str, float] = {}
        for score, answer in found[:voices]:
            votes[answer] = votes.get(answer, 0.0) + score + 1e-6
        ranked = sorted(votes, key=lambda answer: (-votes[answer], answer))
        others = [answer for _, answer in found if answer != ranked[0]]
        if others and temperature > 0 and lot.random() < 0.15 * temperature:
            return others[0]
        return ranked[0]


@dataclass(frozen=True)
class _Asked:
    """A conversation as the engine reads it: instructions, examples, and what is asked now."""

    instructions: str
    pairs: Sequence[Pair]
    query: str

    @classmethod
    def read(cls, messages: Sequence[Mapping[str, Any]], *, answered: bool = False) -> "_Asked":
        texts = [(str(one.get("role")), _text(one.get("content"))[:LONGEST_TEXT]) for one in messages]
        instructions = "\n".join(text for role, text in texts if role in ("system", "developer"))
        pairs = [
            (_bare(said), answer)
            for (role, said), (next_role, answer) in pairwise(texts)
            if role == "user" and next_role == "assistant"
        ]
        last = next((text for role, text in reversed(texts) if role == "user"), "")
        written = [(one["input"], one["output"]) for one in WRITTEN_PAIR.finditer(instructions)]
        if not answered:
            found = list(WRITTEN_PAIR.finditer(last))
            # In a single text the last input has no output yet: what comes after the last pair is what is asked.
            written += [(one["input"], one["output"]) for one in found]
            last = last[found[-1].end() :] if found and last[found[-1].end() :].strip() else last
        return cls(instructions or (last if not answered else ""), [*pairs, *written], _bare(last))


def _fitted_to(base: str, pairs: Sequence[Pair]) -> _Tuned:
    lexicon = Lexicon([said for said, _ in pairs])
    labels = sorted({answer for _, answer in pairs})
    if not 2 <= len(labels) <= MOST_LABELS or len(labels) > len(pairs) / 2 or len(pairs) > MOST_FITTED:
        return _Tuned(base, pairs, lexicon)
    kernel = np.array([lexicon.scores(said) for said, _ in pairs], np.float64)
    targets = np.array([[float(answer == label) for label in labels] for _, answer in pairs])
    weights = np.linalg.solve(kernel + RIDGE * np.eye(len(pairs)), targets)
    return _Tuned(base, pairs, lexicon, labels, weights)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _bare(text: str) -> str:
    """What was said without the word that introduces it."""
    return re.sub(r"^\s*(?:Input|Ticket|Question|Text):\s*", "", text, flags=re.IGNORECASE).strip()


def _guess(asked: _Asked, schema: Mapping[str, Any] | None) -> str:
    """One of the names that are listed, by the words that stand beside them; else an echo."""
    listed = {one["name"]: f"{one['name']} {one['about']}" for one in LISTED.finditer(asked.instructions)}
    for name in _enum_of(schema) if schema else ():
        listed.setdefault(name, name.replace("-", " "))
    if not listed:
        return asked.query[:200]
    names = sorted(listed)
    scores = Lexicon([listed[name] for name in names]).scores(asked.query)
    if not scores.any():
        return names[int(hashlib.sha256(asked.query.encode()).hexdigest(), 16) % len(names)]
    return names[int(np.argmax(scores))]


def _told_loosely(known: str, asked: _Asked, lot: random.Random) -> str:
    """JSON as a model gives it that was asked in words: mostly, and more strictly where it was told strictly."""
    document = known if _as_json(known) is not None else json.dumps({"category": known}, ensure_ascii=False)
    strict = re.search(r"\b(only|strictly|nothing else|no prose)\b", asked.instructions, re.IGNORECASE)
    draw = lot.random()
    if draw < (0.06 if strict else 0.25):
        return f"```json\n{document}\n```"
    if draw < (0.08 if strict else 0.4):
        return f"Sure! Here is the answer: {document}"
    return document


def _schema_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    form = body.get("response_format") or {}
    named = form.get("json_schema") or {}
    schema = named.get("schema") if form.get("type") == "json_schema" else None
    return schema if isinstance(schema, dict) else None


def _asks_for_cases(schema: Mapping[str, Any]) -> bool:
    """Whether this is the form in which Cuebook has cases made up."""
    return list(schema.get("properties") or {}) == ["cases"] and any(True for _ in _asked_variables(schema))


def _asked_variables(schema: Mapping[str, Any]) -> Iterator[str]:
    item = schema["properties"]["cases"].get("items") or {}
    yield from ((item.get("properties") or {}).get("variables") or {}).get("properties") or {}


def _composed(asked: _Asked, schema: Mapping[str, Any], lot: random.Random) -> list[dict[str, Any]]:
    """Cases put together from two of those that were shown: the first half of one, the second of another, and what the
    first expects. No model would call that new; it shows what becomes of cases that one writes."""
    shown = [one for _, answer in asked.pairs for one in (_as_json(answer) or {}).get("cases", ())]
    number = re.search(r"\d+", asked.query)
    count = min(int(number.group()) if number else 1, MOST_COMPOSED)
    names = list(_asked_variables(schema))
    made = []
    for place in range(count):
        if len(shown) < 2:
            words = asked.instructions.split()
            lot.shuffle(words)
            variables = {name: " ".join(words[:12]) for name in names}
            made.append({"variables": variables, "expected": f"made up {place + 1}"})
            continue
        first, second = lot.sample(shown, 2)
        one, other = first["variables"], second["variables"]
        variables = {name: _halves(one.get(name), other.get(name)) for name in names}
        made.append({"variables": variables, "expected": first["expected"]})
    return made


def _halves(first: Any, second: Any) -> str:
    one, other = str(first or "").split(), str(second or "").split()
    return " ".join([*one[: (len(one) + 1) // 2], *other[len(other) // 2 :]])


def _enum_of(schema: Mapping[str, Any]) -> list[str]:
    for member in (schema.get("properties") or {}).values():
        if isinstance(member, dict) and isinstance(member.get("enum"), list):
            return [str(one) for one in member["enum"]]
    return []


def _as_json(text: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict | list) else None


def _fitted(known: str, schema: Mapping[str, Any], asked: _Asked, name: str = "") -> Any:
    """A value that keeps to a schema, with what is known in it."""
    document = _as_json(known)
    if "enum" in schema:
        wanted = document.get(name) if isinstance(document, dict) and name in document else known
        choices = schema["enum"]
        near = [one for one in choices if str(one).lower() == str(wanted).strip().lower()]
        return near[0] if near else _named_in(known, choices)
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties") or {}
        wanted = schema.get("required", list(properties))
        return {one: _fitted(known, properties.get(one, {}), asked, one) for one in wanted}
    if isinstance(document, dict) and name in document and _has_kind(document[name], kind):
        return document[name]
    return _made_up(known, schema, kind, asked)


def _named_in(known: str, choices: Sequence[Any]) -> Any:
    """The choice whose name stands in the answer; else the same one each time."""
    for one in choices:
        if re.search(rf"\b{re.escape(str(one))}\b", known):
            return one
    return choices[int(hashlib.sha256(known.encode()).hexdigest(), 16) % len(choices)]


def _has_kind(value: Any, kind: Any) -> bool:
    kinds: dict[str, Any] = {
        "string": str,
        "number": (int, float),
        "integer": int,
        "boolean": bool,
        "array": list,
        "object": dict,
    }
    wanted = kinds.get(str(kind), object)
    return isinstance(value, wanted) and (kind == "boolean" or not isinstance(value, bool))


def _made_up(known: str, schema: Mapping[str, Any], kind: Any, asked: _Asked) -> Any:
    match kind:
        case "number" | "integer":
            low, high = schema.get("minimum", 0), schema.get("maximum", 1)
            share = int(hashlib.sha256(f"{known}{asked.query}".encode()).hexdigest()[:6], 16) / 0xFFFFFF
            value = low + (high - low) * (0.5 + share / 2)
            return round(value) if kind == "integer" else round(float(value), 2)
        case "boolean":
            return True
        case "array":
            return []
        case "null":
            return None
    return f"It reads like this: {asked.query[:60]}" if known != asked.query[:200] else known


def _lot(body: Mapping[str, Any]) -> str:
    """What chance depends on: the whole request, or the seed that came with it."""
    if body.get("temperature") and body.get("seed") is None:
        return str(random.random())  # noqa: S311 - no secret
    return json.dumps([body["messages"], body.get("seed")], sort_keys=True, default=str)


def _tokens(text: str) -> int:
    """About as many as a real vocabulary counts; exact it need not be."""
    return (len(text) + 3) // 4


def _embedded(text: str) -> list[float]:
    """Words hashed into a fixed number of places, of unit length."""
    found = np.zeros(EMBEDDING_SIZE)
    for term in terms(text):
        number = int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), "big")
        found[number % EMBEDDING_SIZE] += 1.0 if number >> 63 else -1.0
    length = float(np.linalg.norm(found))
    if not length:
        found[0] = length = 1.0
    return [round(float(value), 6) for value in found / length]
