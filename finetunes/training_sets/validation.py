"""Validation of training files: each fault with its file, line and rule. Pure.

The rules on shape are those of OpenAI's cookbook ("Data preparation and analysis for chat model fine-tuning"), with
what the API refuses beside them (weights, the last message, fewer than ten examples); those on content are ours: no
test case, nothing in both files, no question with two answers, no answer that breaks the schema it is to teach.
"""

import codecs
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from finetunes.providers import jsonl
from finetunes.providers.base import MIN_EXAMPLES
from finetunes.providers.jsonl import Method
from finetunes.training_sets.message_rules import part_faults, tool_faults
from registry.content import tokens

CHUNK_LINES = 200
# So many findings of each rule are listed; all are counted.
MAX_FINDINGS_PER_RULE = 20
ROLES = ("system", "developer", "user", "assistant", "tool")
MEMBERS = frozenset({"role", "content", "name", "weight", "tool_calls", "tool_call_id", "refusal"})
TRAIN, VALIDATION = "train", "validation"
ERROR, WARNING = "error", "warning"
# Title of each rule.
RULES: Mapping[str, str] = {
    "unreadable": "Lines that are no JSON",
    "data_type": "Lines that are no object",
    "missing_messages_list": "Lines without messages",
    "message_missing_key": "Messages without role or content",
    "message_unrecognized_key": "Messages with members that nobody reads",
    "unrecognized_role": "Messages of an unknown role",
    "missing_content": "Messages whose content is no text",
    "bad_part": "Messages with parts that a model cannot read",
    "bad_tools": "Lines whose tools are not declared as functions",
    "bad_tool_call": "Calls of tools that cannot be read",
    "undeclared_tool": "Calls of tools that the line does not declare",
    "unanswered_call": "Calls of tools without a result",
    "orphan_tool_message": "Results of tools that nobody called",
    "one_list": "Files that are one JSON list",
    "byte_order_mark": "Files that begin with a byte order mark",
    "bad_weight": "Weights that are not 0 or 1 on an assistant’s message",
    "example_missing_assistant_message": "Lines without an answer",
    "last_not_assistant": "Lines that do not end with the answer",
    "nothing_learned": "Lines of which nothing is learned",
    "bad_pair": "Pairs without two different answers",
    "too_few": "Too few examples",
    "too_many": "Too many examples",
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
class FileFinding:
    """A fault in a file; `line` is None for a fault of the file as a whole."""

    file: str
    line: int | None
    rule: str
    message: str

    def as_dict(self) -> dict[str, Any]:
        return {"file": self.file, "line": self.line, "rule": self.rule, "message": self.message}


@dataclass(frozen=True)
class Limits:
    """Limits of the base model and its provider: the model whose vocabulary counts, the longest example in tokens, the
    least and the largest number of examples."""

    vocabulary_of: str = ""
    max_tokens: int | None = None
    min_examples: int = MIN_EXAMPLES
    max_examples: int | None = None


@dataclass
class Verdict:
    """Result of a validation: how often each rule was broken, the first lines that broke it, and the tokens of each
    line."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[FileFinding] = field(default_factory=list)
    lengths: dict[str, list[int]] = field(default_factory=lambda: {TRAIN: [], VALIDATION: []})
    is_exact: bool = True

    def add(self, file: str, line: int | None, rule: str, message: str) -> None:
        self.counts[rule] += 1
        if self.counts[rule] <= MAX_FINDINGS_PER_RULE:
            self.findings.append(FileFinding(file, line, rule, message[:300]))

    @property
    def errors(self) -> int:
        """Count the faults that keep the files from being used."""
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
        return {"errors": self.errors, "rules": rules, "findings": [finding.as_dict() for finding in self.findings]}


def validate(
    files: Mapping[str, bytes],
    method: Method,
    *,
    violations: Callable[[Sequence[str]], Sequence[Sequence[str]]] | None = None,
    limits: Limits | None = None,
    test_inputs: Callable[[Sequence[jsonl.Message]], bool] = lambda _: False,
) -> Verdict:
    """Validate the files (`train`, and `validation` where there is one). `violations` returns how each of many answers
    breaks the prompt's schema; `test_inputs` says whether a question is in the test split."""
    checks = _Checks(method, violations, limits or Limits(), test_inputs)
    for file in (TRAIN, VALIDATION):
        if file in files:
            checks.file(file, files[file])
    return checks.verdict


class _Checks:
    def __init__(
        self,
        method: Method,
        violations: Callable[[Sequence[str]], Sequence[Sequence[str]]] | None,
        limits: Limits,
        test_inputs: Callable[[Sequence[jsonl.Message]], bool],
    ) -> None:
        self.verdict = Verdict()
        self._method = method
        self._violations = violations
        self._limits = limits
        self._is_test = test_inputs
        # For each question: the file and line where it stood first, and a digest of that line.
        self._questions: dict[bytes, tuple[str, int, bytes]] = {}

    def file(self, file: str, data: bytes) -> None:
        count = 0
        if data.startswith(codecs.BOM_UTF8):
            sentence = "The file begins with a byte order mark. Save it as UTF-8 without one."
            self.verdict.add(file, None, "byte_order_mark", sentence)
            data = data.removeprefix(codecs.BOM_UTF8)
        if data.lstrip()[:1] == b"[":
            sentence = "The file is one JSON list. A training file has one JSON object a line."
            self.verdict.add(file, None, "one_list", sentence)
            return
        lines_of_file = jsonl.read_lines(data)
        while chunk := list(islice(lines_of_file, CHUNK_LINES)):
            count += len(chunk)
            faults = {number: list(self._shape(line)) for number, line in chunk}
            readable = [number for number in faults if not any(rule not in WARNINGS for rule, _ in faults[number])]
            lines = dict(chunk)
            violations = self._violations_of({number: lines[number] for number in readable})
            for number, line in chunk:
                for rule, message in faults[number]:
                    self.verdict.add(file, number, rule, message)
                if number in violations:
                    self._sense(file, number, line, violations[number])
        if file == TRAIN and count < self._limits.min_examples:
            sentence = f"{count} of at least {self._limits.min_examples} examples; 50 to 100 begin to help."
            self.verdict.add(file, None, "too_few", sentence)
        most = self._limits.max_examples
        if most is not None and count > most:
            self.verdict.add(file, None, "too_many", f"{count:,} examples; the provider takes {most:,}.")

    def _violations_of(self, lines: Mapping[int, Mapping[str, Any]]) -> Mapping[int, Sequence[str]]:
        if self._violations is None:
            return dict.fromkeys(lines, ())
        answers = [jsonl.answer_to_learn(line) for line in lines.values()]
        return dict(zip(lines, self._violations(answers), strict=True))

    def _shape(self, line: Any) -> Iterator[tuple[str, str]]:
        if isinstance(line, ValueError):
            yield "unreadable", f"Is no JSON: {line}"
        elif not isinstance(line, dict):
            yield "data_type", f"Is {type(line).__name__}, not an object."
        elif self._method == Method.PREFERENCE:
            yield from _pair_faults(line)
        else:
            yield from _conversation_faults(line.get("messages"), line.get("tools"), ends_with_answer=True)

    def _sense(self, file: str, number: int, line: Mapping[str, Any], violations: Sequence[str]) -> None:
        question = jsonl.question_messages(line)
        self._count_tokens(file, number, line)
        if self._is_test(question):
            self.verdict.add(file, number, "test_leak", "This question is a test case too.")
        for message in violations:
            self.verdict.add(file, number, "schema", message)
        key = _digest(question)
        where, first, before = self._questions.setdefault(key, (file, number, _digest(line)))
        if (where, first) == (file, number):
            return
        if where != file:
            self.verdict.add(file, number, "overlap", f"The same question is in line {first} of {where}.")
        elif before == _digest(line):
            self.verdict.add(file, number, "repeated", f"The same as line {first}.")
        elif self._method == Method.SUPERVISED:
            self.verdict.add(file, number, "contradiction", f"Line {first} answers the same question differently.")

    def _count_tokens(self, file: str, number: int, line: Mapping[str, Any]) -> None:
        count = line_tokens(line, self._limits.vocabulary_of)
        self.verdict.is_exact &= count.is_exact
        self.verdict.lengths[file].append(count.tokens)
        max_tokens = self._limits.max_tokens
        if max_tokens is not None and count.tokens > max_tokens:
            self.verdict.add(file, number, "too_long", f"{count.tokens:,} tokens; the model reads {max_tokens:,}.")


def line_tokens(line: Mapping[str, Any], model: str) -> tokens.TokenCount:
    """Count the tokens of a line as the cookbook does: 3 for each message and its texts, 3 to begin the answer."""
    if "preferred_output" in line:
        messages = [*line["input"]["messages"], *line["preferred_output"], *line["non_preferred_output"]]
    else:
        messages = line["messages"]
    count = tokens.count_messages(messages, model)
    tools = (line["input"] if "preferred_output" in line else line).get("tools")
    if not tools:
        return count
    # Providers do not document how they write tools for the model; as JSON they are about as long.
    return tokens.TokenCount(count.tokens + tokens.count(json.dumps(tools), model).tokens, is_exact=False)


def _pair_faults(line: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    question = line.get("input")
    if not isinstance(question, dict):
        yield "missing_messages_list", "Has no input with messages."
        return
    yield from _conversation_faults(question.get("messages"), question.get("tools"), ends_with_answer=False)
    texts = []
    for name in ("preferred_output", "non_preferred_output"):
        output = line.get(name)
        if not isinstance(output, list) or not output or not isinstance(output[-1], dict):
            yield "bad_pair", f"Has no {name}."
            return
        yield from _conversation_faults(output, question.get("tools"), ends_with_answer=True)
        texts.append(output[-1].get("content"))
    if texts[0] == texts[1]:
        yield "bad_pair", "Both answers are the same."


def _conversation_faults(messages: Any, tools: Any, *, ends_with_answer: bool) -> Iterator[tuple[str, str]]:
    if not isinstance(messages, list) or not messages:
        yield "missing_messages_list", "Has no list of messages."
        return
    for position, message in enumerate(messages, start=1):
        if not isinstance(message, dict):
            yield "data_type", f"Message {position} is no object."
            return
        faults = list(_message_faults(message))
        yield from ((rule, f"Message {position}: {sentence}") for rule, sentence in faults)
        if any(rule not in WARNINGS for rule, _ in faults):
            return
    yield from tool_faults(messages, tools)
    roles = [message.get("role") for message in messages]
    if not ends_with_answer:
        return
    if "assistant" not in roles:
        yield "example_missing_assistant_message", "No message is the assistant’s."
    elif roles[-1] != "assistant":
        yield "last_not_assistant", "The last message is not the assistant’s."
    elif all(message.get("weight") == 0 for message in messages if message.get("role") == "assistant"):
        yield "nothing_learned", "Every answer has the weight 0."
    if "user" not in roles and len(messages) > 1:
        yield "missing_user", "No message is the user’s."


def _message_faults(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    role, content = message.get("role"), message.get("content")
    if "role" not in message or ("content" not in message and not message.get("tool_calls")):
        yield "message_missing_key", "needs a role and a content."
        return
    if unknown := sorted(message.keys() - MEMBERS):
        yield "message_unrecognized_key", f"has {', '.join(map(str, unknown[:5]))}."
    if role not in ROLES:
        yield "unrecognized_role", f"has the role {role!r}."
    if isinstance(content, list) and content:
        yield from part_faults(role, content)
    elif not isinstance(content, str) and not message.get("tool_calls"):
        yield "missing_content", "has a content that is no text."
    elif content == "" and not message.get("tool_calls"):
        yield "missing_content", "is empty."
    if "weight" in message and (role != "assistant" or message["weight"] not in (0, 1) or message["weight"] is True):
        yield "bad_weight", "a weight is 0 or 1, and only for what the assistant says."


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).digest()
