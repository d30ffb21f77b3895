"""Engine without a model: it answers like the nearest example.

Examples come from the conversation (user and assistant messages), from "Input: ... Output: ..." in a text, and from
tuning. Without any it guesses among the names that the instructions or the schema list, by the words beside them. So
more and nearer examples do better, a schema is followed, a prompt that asks for JSON in passing gets prose now and
then, and all of it is the same each time at temperature 0. Where documents come with a question, it answers with the
sentence of theirs that is nearest.
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

from core.messages import is_message
from evaluations.sandbox.reading import read_documents
from evaluations.sandbox.reply import Reply
from registry.content import tokens
from registry.examples.tfidf import Lexicon, terms

Pair = tuple[str, str]
# The larger one weighs more examples, is slower and costs more.
VOICES = {"sandbox-small": 1, "sandbox-large": 5}
# One base has a shutdown date, to show how pages present such a model.
SHUTDOWN_DATES: dict[str, str | None] = {"sandbox-small": None, "sandbox-large": None, "sandbox-retired": "2026-12-31"}
WRITTEN_PAIR = re.compile(
    r"(?:Input|Ticket|Question|Text):\s*(?P<input>.+?)\s*\n\s*(?:Output|Label|Answer|Category):\s*(?P<output>.+?)\s*(?=\n\s*\n|\n\s*(?:Input|Ticket|Question|Text):|\Z)",
    re.IGNORECASE | re.DOTALL,
)
LISTED = re.compile(r"^\s*[-*]\s*`?(?P<name>[a-z][\w-]*)`?\s*[:–-]\s*(?P<about>.+)$", re.MULTILINE)
MAX_TEXT_LENGTH = 20_000
MAX_COMPOSED = 20
MAX_PAIRS = 20_000
# Tuning on labels fits weights (ridge regression in the lexical kernel); more pairs would take too long.
MAX_FITTED, MAX_LABELS, RIDGE = 2_000, 100, 0.1
EMBEDDING_SIZE = 256


@dataclass(frozen=True)
class _TunedModel:
    """A tuned model; `weights` has the vote of each pair for each of `labels`, where tuning was on labels."""

    base: str
    pairs: Sequence[Pair]
    lexicon: Lexicon
    labels: Sequence[str] = ()
    weights: NDArray[np.float64] | None = None


class Neighbours:
    def __init__(self) -> None:
        self._tuned: dict[str, _TunedModel] = {}

    def models(self) -> Mapping[str, str | None]:
        return {**SHUTDOWN_DATES, **dict.fromkeys(self._tuned)}

    def reply(self, body: Mapping[str, Any]) -> Reply:
        model = str(body["model"])
        if model not in self.models():
            raise KeyError(model)
        tuned = self._tuned.get(model)
        voices = VOICES.get(tuned.base if tuned else model, 1)
        conversation = _Conversation.read(body["messages"])
        text = self._answer(body, conversation, tuned, voices)
        tokens_in = sum(_count_tokens(_text(message.get("content"))) + 4 for message in body["messages"])
        tokens_in += tokens.count_images(filter(is_message, body["messages"]))
        max_tokens = body.get("max_tokens") or body.get("max_completion_tokens")
        finish = "stop"
        if isinstance(max_tokens, int) and _count_tokens(text) > max_tokens:
            text, finish = text[: max(0, max_tokens) * 4], "length"
        tokens_out = max(1, _count_tokens(text))
        # A larger model reads and writes more slowly; every model writes more slowly than it reads.
        seconds = (0.02 + 0.00004 * tokens_in + 0.002 * tokens_out) * (1 + voices / 4)
        return Reply(text, tokens_in, tokens_out, seconds, finish)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [_embed_text(text) for text in texts]

    def tune(self, base: str, name: str, examples: Sequence[Mapping[str, Any]], epochs: int) -> list[float]:
        if base not in self.models():
            raise KeyError(base)
        pairs = [pair for example in examples for pair in _Conversation.read(example["messages"], answered=True).pairs][
            :MAX_PAIRS
        ]
        before = self._tuned.get(base)
        pairs = [*(before.pairs if before else ()), *pairs]
        self._tuned[name] = _fit_model(before.base if before else base, pairs)
        # The shape of a real loss curve; no model is trained.
        steps = max(1, len(examples) * epochs // 8)
        return [round(0.15 + 1.6 * float(np.exp(-3 * step / steps)), 4) for step in range(1, steps + 1)]

    def _answer(
        self, body: Mapping[str, Any], conversation: "_Conversation", tuned: _TunedModel | None, voices: int
    ) -> str:
        schema = _schema_of(body)
        rng = random.Random(_random_seed(body))  # noqa: S311 - the same request draws the same, which is what is wanted
        answer = self._from_examples(conversation, tuned, voices, rng, float(body.get("temperature") or 0))
        if answer is None:
            answer = read_documents(conversation.query) or _guess(conversation, schema)
        if schema is not None:
            if _asks_for_cases(schema):
                return json.dumps({"cases": _composed_cases(conversation, schema, rng)}, ensure_ascii=False)
            return json.dumps(_value_for_schema(answer, schema, conversation), ensure_ascii=False)
        wants_json = (body.get("response_format") or {}).get("type") == "json_object"
        if wants_json and _as_json(answer) is None:
            return json.dumps({"answer": answer}, ensure_ascii=False)
        if not wants_json and not conversation.pairs and tuned is None and "json" in conversation.instructions.lower():
            return _loose_json(answer, conversation, rng)
        return answer

    def _from_examples(
        self,
        conversation: "_Conversation",
        tuned: _TunedModel | None,
        voices: int,
        rng: random.Random,
        temperature: float,
    ) -> str | None:
        if tuned and tuned.weights is not None and not conversation.pairs:
            return tuned.labels[int(np.argmax(tuned.lexicon.scores(conversation.query) @ tuned.weights))]
        candidates: list[tuple[float, str]] = []
        if conversation.pairs:
            scores = Lexicon([question for question, _ in conversation.pairs]).scores(conversation.query)
            candidates += [
                (float(score), answer) for score, (_, answer) in zip(scores, conversation.pairs, strict=True)
            ]
        if tuned and tuned.pairs:
            scores = tuned.lexicon.scores(conversation.query)
            best = np.argsort(-scores, kind="stable")[:50]
            candidates += [(float(scores[place]), tuned.pairs[place][1]) for place in best]
        if not candidates:
            return None
        candidates.sort(key=lambda candidate: -candidate[0])
        votes: dict[str, float] = {}
        for score, answer in candidates[:voices]:
            votes[answer] = votes.get(answer, 0.0) + score + 1e-6
        ranked = sorted(votes, key=lambda answer: (-votes[answer], answer))
        others = [answer for _, answer in candidates if answer != ranked[0]]
        if others and temperature > 0 and rng.random() < 0.15 * temperature:
            return others[0]
        return ranked[0]


@dataclass(frozen=True)
class _Conversation:
    """A conversation as the engine reads it: instructions, examples, and the current question."""

    instructions: str
    pairs: Sequence[Pair]
    query: str

    @classmethod
    def read(cls, messages: Sequence[Mapping[str, Any]], *, answered: bool = False) -> "_Conversation":
        texts = [(str(message.get("role")), _text(message.get("content"))[:MAX_TEXT_LENGTH]) for message in messages]
        instructions = "\n".join(text for role, text in texts if role in ("system", "developer"))
        pairs = [
            (_without_heading(question), answer)
            for (role, question), (next_role, answer) in pairwise(texts)
            if role == "user" and next_role == "assistant"
        ]
        last = next((text for role, text in reversed(texts) if role == "user"), "")
        written = [(match["input"], match["output"]) for match in WRITTEN_PAIR.finditer(instructions)]
        if not answered:
            matches = list(WRITTEN_PAIR.finditer(last))
            # In a single text the last input has no output yet: the text after the last pair is the question.
            written += [(match["input"], match["output"]) for match in matches]
            last = last[matches[-1].end() :] if matches and last[matches[-1].end() :].strip() else last
        return cls(instructions or (last if not answered else ""), [*pairs, *written], _without_heading(last))


def _fit_model(base: str, pairs: Sequence[Pair]) -> _TunedModel:
    lexicon = Lexicon([question for question, _ in pairs])
    labels = sorted({answer for _, answer in pairs})
    if not 2 <= len(labels) <= MAX_LABELS or len(labels) > len(pairs) / 2 or len(pairs) > MAX_FITTED:
        return _TunedModel(base, pairs, lexicon)
    kernel = np.array([lexicon.scores(question) for question, _ in pairs], np.float64)
    targets = np.array([[float(answer == label) for label in labels] for _, answer in pairs])
    weights = np.linalg.solve(kernel + RIDGE * np.eye(len(pairs)), targets)
    return _TunedModel(base, pairs, lexicon, labels, weights)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _without_heading(text: str) -> str:
    """Return a text without the word that introduces it."""
    return re.sub(r"^\s*(?:Input|Ticket|Question|Text):\s*", "", text, flags=re.IGNORECASE).strip()


def _guess(conversation: _Conversation, schema: Mapping[str, Any] | None) -> str:
    """Guess one of the listed names by the words beside them; else echo the question."""
    listed = {
        match["name"]: f"{match['name']} {match['about']}" for match in LISTED.finditer(conversation.instructions)
    }
    for name in _enum_of(schema) if schema else ():
        listed.setdefault(name, name.replace("-", " "))
    if not listed:
        return conversation.query[:200]
    names = sorted(listed)
    scores = Lexicon([listed[name] for name in names]).scores(conversation.query)
    if not scores.any():
        return names[int(hashlib.sha256(conversation.query.encode()).hexdigest(), 16) % len(names)]
    return names[int(np.argmax(scores))]


def _loose_json(answer: str, conversation: _Conversation, rng: random.Random) -> str:
    """Answer with JSON as a model does that was asked in words: mostly, and more strictly where asked strictly."""
    document = answer if _as_json(answer) is not None else json.dumps({"category": answer}, ensure_ascii=False)
    strict = re.search(r"\b(only|strictly|nothing else|no prose)\b", conversation.instructions, re.IGNORECASE)
    draw = rng.random()
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
    """Return whether this is the schema of Cuebook's requests for synthetic cases."""
    return list(schema.get("properties") or {}) == ["cases"] and any(True for _ in _asked_variables(schema))


def _asked_variables(schema: Mapping[str, Any]) -> Iterator[str]:
    item = schema["properties"]["cases"].get("items") or {}
    yield from ((item.get("properties") or {}).get("variables") or {}).get("properties") or {}


def _composed_cases(conversation: _Conversation, schema: Mapping[str, Any], rng: random.Random) -> list[dict[str, Any]]:
    """Compose cases from two of the examples: the first half of one, the second of another, and the expected output of
    the first. A real model's would be better; these show how written cases are handled."""
    cases_shown = [case for _, answer in conversation.pairs for case in (_as_json(answer) or {}).get("cases", ())]
    number = re.search(r"\d+", conversation.query)
    count = min(int(number.group()) if number else 1, MAX_COMPOSED)
    names = list(_asked_variables(schema))
    cases = []
    for place in range(count):
        if len(cases_shown) < 2:
            words = conversation.instructions.split()
            rng.shuffle(words)
            variables = {name: " ".join(words[:12]) for name in names}
            cases.append({"variables": variables, "expected": f"made up {place + 1}"})
            continue
        first, second = rng.sample(cases_shown, 2)
        first_variables, second_variables = first["variables"], second["variables"]
        variables = {name: _halves(first_variables.get(name), second_variables.get(name)) for name in names}
        cases.append({"variables": variables, "expected": first["expected"]})
    return cases


def _halves(first: Any, second: Any) -> str:
    first_words, second_words = str(first or "").split(), str(second or "").split()
    return " ".join([*first_words[: (len(first_words) + 1) // 2], *second_words[len(second_words) // 2 :]])


def _enum_of(schema: Mapping[str, Any]) -> list[str]:
    for member in (schema.get("properties") or {}).values():
        if isinstance(member, dict) and isinstance(member.get("enum"), list):
            return [str(choice) for choice in member["enum"]]
    return []


def _as_json(text: str) -> Any:
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict | list) else None


def _value_for_schema(answer: str, schema: Mapping[str, Any], conversation: _Conversation, name: str = "") -> Any:
    """Build a value that follows a schema, with the answer in it."""
    document = _as_json(answer)
    if "enum" in schema:
        value = document.get(name) if isinstance(document, dict) and name in document else answer
        choices = schema["enum"]
        near = [choice for choice in choices if str(choice).lower() == str(value).strip().lower()]
        return near[0] if near else _choice_named_in(answer, choices)
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties") or {}
        required = schema.get("required", list(properties))
        return {
            member: _value_for_schema(answer, properties.get(member, {}), conversation, member) for member in required
        }
    if isinstance(document, dict) and name in document and _has_kind(document[name], kind):
        return document[name]
    return _made_up_value(answer, schema, kind, conversation)


def _choice_named_in(answer: str, choices: Sequence[Any]) -> Any:
    """Return the choice that the answer names; else the same one each time."""
    for choice in choices:
        if re.search(rf"\b{re.escape(str(choice))}\b", answer):
            return choice
    return choices[int(hashlib.sha256(answer.encode()).hexdigest(), 16) % len(choices)]


def _has_kind(value: Any, kind: Any) -> bool:
    kinds: dict[str, Any] = {
        "string": str,
        "number": (int, float),
        "integer": int,
        "boolean": bool,
        "array": list,
        "object": dict,
    }
    expected_type = kinds.get(str(kind), object)
    return isinstance(value, expected_type) and (kind == "boolean" or not isinstance(value, bool))


def _made_up_value(answer: str, schema: Mapping[str, Any], kind: Any, conversation: _Conversation) -> Any:
    match kind:
        case "number" | "integer":
            low, high = schema.get("minimum", 0), schema.get("maximum", 1)
            share = int(hashlib.sha256(f"{answer}{conversation.query}".encode()).hexdigest()[:6], 16) / 0xFFFFFF
            value = low + (high - low) * (0.5 + share / 2)
            return round(value) if kind == "integer" else round(float(value), 2)
        case "boolean":
            return True
        case "array":
            return []
        case "null":
            return None
    return f"It reads like this: {conversation.query[:60]}" if answer != conversation.query[:200] else answer


def _random_seed(body: Mapping[str, Any]) -> str:
    """Return the seed of random choices: the whole request, or the seed that came with it."""
    if body.get("temperature") and body.get("seed") is None:
        return str(random.random())  # noqa: S311 - no secret
    return json.dumps([body["messages"], body.get("seed")], sort_keys=True, default=str)


def _count_tokens(text: str) -> int:
    """Count tokens approximately, as a real vocabulary would."""
    return (len(text) + 3) // 4


def _embed_text(text: str) -> list[float]:
    """Hash words into a vector of fixed size and unit length."""
    vector = np.zeros(EMBEDDING_SIZE)
    for term in terms(text):
        number = int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), "big")
        vector[number % EMBEDDING_SIZE] += 1.0 if number >> 63 else -1.0
    length = float(np.linalg.norm(vector))
    if not length:
        vector[0] = length = 1.0
    return [round(float(value), 6) for value in vector / length]
