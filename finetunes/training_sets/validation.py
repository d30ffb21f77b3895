"""Whether training files can be learned from: each fault with its file, line and rule. Pure.

The rules on shape are those of OpenAI's cookbook ("Data preparation and analysis for chat model fine-tuning"), with
what the API refuses beside them (weights, the last message, fewer than ten examples); those on sense are ours: nothing
of the test side, nothing on both sides, no question with two answers, no answer that breaks the schema it is to teach.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs

from evaluations.scorers.structured import json_schema
from finetunes.providers import jsonl
from finetunes.providers.jsonl import Method
from registry.content import tokens

LEAST_EXAMPLES = 10
# As many of each rule are kept to be shown; all are counted.
KEPT = 20
ROLES = ("system", "developer", "user", "assistant", "tool")
MEMBERS = frozenset({"role", "content", "name", "weight", "tool_calls", "tool_call_id", "refusal"})
TRAIN, VALIDATION = "train", "validation"
ERROR, WARNING = "error", "warning"
# What each rule is called by people.
RULES: Mapping[str, str] = {
    "unreadable": "Lines that are no JSON",
    "data_type": "Lines that are no object",
    "missing_messages_list": "Lines without messages",
    "message_missing_key": "Messages without role or content",
    "message_unrecognized_key": "Messages with members that nobody reads",
    "unrecognized_role": "Messages of an unknown role",
    "missing_content": "Messages whose content is no text",
    "bad_weight": "Weights that are not 0 or 1 on an assistant’s message",
    "example_missing_assistant_message": "Lines without an answer",
    "last_not_assistant": "Lines that do not end with the answer",
    "nothing_learned": "Lines of which nothing is learned",
    "bad_pair": "Pairs without two different answers",
    "too_few": "Too few examples",
    "too_long": "Lines longer than the model reads",
    "overlap": "In both files",
    "test_leak": "Test cases in the training data",
    "schema": "Answers that break the response schema",
    "contradiction": "One question with different answers",
    "repeated": "The same line more than once",
    "missing_user": "Lines without a user’s message",
}
WARNINGS = frozenset({"repeated", "missing_user", "message_unrecognized_key"})


@dataclass(frozen=True)
class Finding:
    """`line` is None for what is wrong with the file as a whole."""

    file: str
    line: int | None
    rule: str
    message: str

    def as_dict(self) -> dict[str, Any]:
        return {"file": self.file, "line": self.line, "rule": self.rule, "message": self.message}


@dataclass(frozen=True)
class Limits:
    """What the base model bears: the longest example in tokens, whose vocabulary counts them, the fewest examples."""

    vocabulary_of: str = ""
    longest: int | None = None
    least: int = LEAST_EXAMPLES


@dataclass
class Verdict:
    """What was found: how often each rule was broken, and the first lines that broke it; the tokens of each line."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    lengths: dict[str, list[int]] = field(default_factory=lambda: {TRAIN: [], VALIDATION: []})
    is_exact: bool = True

    def add(self, file: str, line: int | None, rule: str, message: str) -> None:
        self.counts[rule] += 1
        if self.counts[rule] <= KEPT:
            self.findings.append(Finding(file, line, rule, message[:300]))

    @property
    def errors(self) -> int:
        """How many faults keep the files from being used."""
        return sum(count for rule, count in self.counts.items() if rule not in WARNINGS)

    def as_dict(self) -> dict[str, Any]:
        rules = [
            {
                "rule": rule,
                "title": RULES[rule],
                "severity": WARNING if rule in WARNINGS else ERROR,
                "count": self.counts[rule],
            }
            for rule in RULES
            if self.counts[rule]
        ]
        return {"errors": self.errors, "rules": rules, "findings": [one.as_dict() for one in self.findings]}


def validate(
    files: Mapping[str, bytes],
    method: Method,
    *,
    schema: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    test_inputs: Callable[[Sequence[jsonl.Message]], bool] = lambda _: False,
) -> Verdict:
    """Look through the files (`train`, and `validation` where there is one). `test_inputs` says whether a question is
    one of the test side."""
    checks = _Checks(method, schema, limits or Limits(), test_inputs)
    for file in (TRAIN, VALIDATION):
        if file in files:
            checks.file(file, files[file])
    return checks.verdict


class _Checks:
    def __init__(
        self,
        method: Method,
        schema: Mapping[str, Any] | None,
        limits: Limits,
        test_inputs: Callable[[Sequence[jsonl.Message]], bool],
    ) -> None:
        self.verdict = Verdict()
        self._method = method
        self._schema = json_schema.validator(json.dumps(schema, sort_keys=True)) if schema else None
        self._limits = limits
        self._is_test = test_inputs
        # Of each question: where it stood first, and what was answered.
        self._asked: dict[bytes, tuple[str, int, bytes]] = {}

    def file(self, file: str, data: bytes) -> None:
        count = 0
        for number, line in jsonl.read(data):
            count += 1
            faults = list(self._shape(line))
            for rule, message in faults:
                self.verdict.add(file, number, rule, message)
            if not any(rule not in WARNINGS for rule, _ in faults):
                self._sense(file, number, line)
        if file == TRAIN and count < self._limits.least:
            sentence = (
                f"{count} of the {self._limits.least} examples that are needed at least; 50 to 100 begin to help."
            )
            self.verdict.add(file, None, "too_few", sentence)

    def _shape(self, line: Any) -> Iterator[tuple[str, str]]:
        if isinstance(line, ValueError):
            yield "unreadable", f"Is no JSON: {line}"
        elif not isinstance(line, dict):
            yield "data_type", f"Is {type(line).__name__}, not an object."
        elif self._method == Method.PREFERENCE:
            yield from _pair(line)
        else:
            yield from _conversation(line.get("messages"), ends_with_answer=True)

    def _sense(self, file: str, number: int, line: Mapping[str, Any]) -> None:
        asked, answer = jsonl.question(line), jsonl.answer(line)
        self._count_tokens(file, number, line)
        if self._is_test(asked):
            self.verdict.add(file, number, "test_leak", "This question is a test case too.")
        if self._schema is not None:
            for message in _against(self._schema, answer):
                self.verdict.add(file, number, "schema", message)
        key = _digest(asked)
        where, first, before = self._asked.setdefault(key, (file, number, _digest(line)))
        if (where, first) == (file, number):
            return
        if where != file:
            self.verdict.add(file, number, "overlap", f"The same question is in line {first} of {where}.")
        elif before == _digest(line):
            self.verdict.add(file, number, "repeated", f"The same as line {first}.")
        elif self._method == Method.SUPERVISED:
            self.verdict.add(file, number, "contradiction", f"Line {first} answers the same question differently.")

    def _count_tokens(self, file: str, number: int, line: Mapping[str, Any]) -> None:
        found = line_tokens(line, self._limits.vocabulary_of)
        self.verdict.is_exact &= found.is_exact
        self.verdict.lengths[file].append(found.tokens)
        longest = self._limits.longest
        if longest is not None and found.tokens > longest:
            self.verdict.add(file, number, "too_long", f"{found.tokens:,} tokens; the model reads {longest:,}.")


def line_tokens(line: Mapping[str, Any], model: str) -> tokens.TokenCount:
    """The tokens of a line as the cookbook counts them: 3 for each message and its texts, 3 to begin the answer."""
    if "preferred_output" in line:
        messages = [*line["input"]["messages"], *line["preferred_output"], *line["non_preferred_output"]]
    else:
        messages = line["messages"]
    found = tokens.count_messages(messages, model)
    tools = (line["input"] if "preferred_output" in line else line).get("tools")
    if not tools:
        return found
    # How a provider writes tools for the model, nobody says; as JSON they are about as long.
    return tokens.TokenCount(found.tokens + tokens.count(json.dumps(tools), model).tokens, is_exact=False)


def _pair(line: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    given = line.get("input")
    if not isinstance(given, dict):
        yield "missing_messages_list", "Has no input with messages."
        return
    yield from _conversation(given.get("messages"), ends_with_answer=False)
    texts = []
    for name in ("preferred_output", "non_preferred_output"):
        found = line.get(name)
        if not isinstance(found, list) or not found or not isinstance(found[-1], dict):
            yield "bad_pair", f"Has no {name}."
            return
        yield from _conversation(found, ends_with_answer=True)
        texts.append(found[-1].get("content"))
    if texts[0] == texts[1]:
        yield "bad_pair", "Both answers are the same."


def _conversation(messages: Any, *, ends_with_answer: bool) -> Iterator[tuple[str, str]]:
    if not isinstance(messages, list) or not messages:
        yield "missing_messages_list", "Has no list of messages."
        return
    for place, message in enumerate(messages, start=1):
        if not isinstance(message, dict):
            yield "data_type", f"Message {place} is no object."
            return
        faults = list(_message(message))
        yield from ((rule, f"Message {place}: {said}") for rule, said in faults)
        if any(rule not in WARNINGS for rule, _ in faults):
            return
    roles = [one.get("role") for one in messages]
    if not ends_with_answer:
        return
    if "assistant" not in roles:
        yield "example_missing_assistant_message", "No message is the assistant’s."
    elif roles[-1] != "assistant":
        yield "last_not_assistant", "The last message is not the assistant’s."
    elif all(one.get("weight") == 0 for one in messages if one.get("role") == "assistant"):
        yield "nothing_learned", "Every answer has the weight 0."
    if "user" not in roles and len(messages) > 1:
        yield "missing_user", "No message is the user’s."


def _message(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    role, content = message.get("role"), message.get("content")
    if "role" not in message or ("content" not in message and not message.get("tool_calls")):
        yield "message_missing_key", "needs a role and a content."
        return
    if unknown := sorted(message.keys() - MEMBERS):
        yield "message_unrecognized_key", f"has {', '.join(map(str, unknown[:5]))}."
    if role not in ROLES:
        yield "unrecognized_role", f"has the role {role!r}."
    if not isinstance(content, str) and not message.get("tool_calls"):
        yield "missing_content", "has a content that is no text."
    elif content == "":
        yield "missing_content", "is empty."
    if "weight" in message and (role != "assistant" or message["weight"] not in (0, 1) or message["weight"] is True):
        yield "bad_weight", "a weight is 0 or 1, and only for what the assistant says."


def _against(schema: Any, answer: str) -> Iterable[str]:
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        return ["The answer is not JSON."]
    try:
        return [json_schema.told(error) for error, _ in zip(schema.iter_errors(document), range(1), strict=False)]
    except (ValueError, jsonschema_rs.ValidationError) as error:
        return [f"Cannot be held against the schema: {error}"]


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).digest()
