"""Likely mistakes in a prompt that can be committed: hints for its author, never refusals. Pure.

Each rule looks at one thing and says what to do about it. `error` is what will fail when it is called, `warning` what
probably is a mistake, `hint` what is worth a thought.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.content import RETRIEVAL_QUERY, templates
from core.example_selection import max_count
from core.json_values import escape_pointer
from core.messages import PLACEHOLDER, images_of, text_of, text_templates
from core.retrieval import CONTEXT
from registry.content import tokens
from registry.content.model_profiles.facts import ModelProfile, get_profile
from registry.content.model_profiles.refusals import refusals
from registry.content.schema_check import UnusableSchemaError, violations

# Past either, a fine-tuned model with a short prompt is usually worth measuring: the instructions and examples are paid
# for on every call. (The project's source document puts the limits at 2,000 tokens and 5 examples.)
BLOATED_TOKENS = 2_000
BLOATED_EXAMPLES = 5
# Shorter sentences repeat for good reasons ("Answer:", "Input:").
MIN_REPEATED_LENGTH = 30
# The code of the finding that needs all templates to be readable.
UNUSED = "variable.unused"
# A tag that uses what was found.
SHOWS_CONTEXT = re.compile(r"\{[{%][^}]*\bcontext\b")
INSTRUCTING_ROLES = ("system", "developer", "user")

# Of the arguments of a call: an expression outside of a text, or a text with quotation marks around it.
EXPRESSION_OR_TEXT = re.compile(r"\{\{.*?\}\}|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
VARIABLE_ALONE = re.compile(r"\{\{-?\s*([^\W\d][\w.]*)\s*-?\}\}")
SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
JSON_WORD = re.compile(r"\bjson\b", re.IGNORECASE)
# Instructions that ask for JSON, and instructions that ask for something that is not JSON.
ASKS_JSON = re.compile(
    r"\b(?:answer|respond|reply|return|output)\b[^.\n]{0,40}\bjson\b|\bvalid json\b|\bjson only\b", re.IGNORECASE
)
ASKS_OTHER = re.compile(
    r"\b(?:answer|respond|reply|return|output|write)\b[^.\n]{0,40}"
    r"\b(?P<form>markdown|plain text|yaml|xml|html|prose|csv)\b"
    r"|\b(?:no|not|never|without) json\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Finding:
    """One hint. `pointer` is the JSON pointer of its subject, `line` the line there (from 1), where it has one."""

    code: str
    severity: str
    message: str
    pointer: str = ""
    line: int | None = None


@dataclass(frozen=True)
class Subject:
    """A content in normal form, with the facts that the rules need."""

    content: Mapping[str, Any]
    used_variables: frozenset[str]
    tokens: int | None
    # Variables that a partial declares; the prompt need not say so again.
    inherited: frozenset[str] = frozenset()
    # (position, reason) of examples that the response format refuses (`refused_examples`); None where that took too
    # long.
    refused: Sequence[tuple[int, str]] | None = ()
    # What is known of the model that it names; published facts where nobody says.
    profile: ModelProfile | None = None

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        messages: Sequence[Mapping[str, Any]] = self.content.get("messages", ())
        return messages or [{"role": "user", "content": self.content.get("text", "")}]

    @property
    def examples(self) -> list[tuple[int, str]]:
        """(position, text) of assistant messages that show how to answer; a last one only starts the answer."""
        last = len(self.messages) - 1
        return [
            (index, message["content"])
            for index, message in enumerate(self.messages)
            if message["role"] == "assistant" and index != last and isinstance(message.get("content"), str)
        ]

    @property
    def example_count(self) -> int:
        """Examples written out, and those that the version picks from its set."""
        selection = self.content.get("examples", {})
        return len(self.examples) + ((max_count(selection) or 0) if selection else 0)

    def instructions(self) -> Iterator[tuple[str, int, str]]:
        """(pointer, line, text) of every line that instructs rather than shows an answer."""
        for index, message in enumerate(self.messages):
            if message["role"] not in INSTRUCTING_ROLES:
                continue
            for where, template in text_templates(message, f"/messages/{index}"):
                pointer = "/text" if "text" in self.content else where
                for line, text in enumerate(template.split("\n"), start=1):
                    yield pointer, line, text


def lint(subject: Subject) -> list[Finding]:
    """Return every finding, the most severe first."""
    order = ("error", "warning", "hint")
    return sorted(
        (finding for rule in RULES for finding in rule(subject)), key=lambda finding: order.index(finding.severity)
    )


def variables(subject: Subject) -> Iterator[Finding]:
    declared = subject.content.get("variables", {})
    for name in sorted(declared.keys() - subject.used_variables):
        yield Finding(UNUSED, "warning", f"{name} is declared, but no template uses it.", f"/variables/{name}")
    undeclared = sorted(subject.used_variables - declared.keys() - subject.inherited)
    if undeclared:
        several = "are used, but not declared" if len(undeclared) > 1 else "is used, but not declared"
        sentence = f"{', '.join(undeclared)} {several}: any type will be accepted."
        yield Finding("variable.undeclared", "hint", sentence, "/variables")


def answer_format(subject: Subject) -> Iterator[Finding]:
    """Find instructions that contradict the response format, or each other."""
    form = subject.content.get("response", {}).get("format", "text")
    lines = list(subject.instructions())
    asks_json = next(((p, n, t) for p, n, t in lines if ASKS_JSON.search(t)), None)
    other = next(((p, n, m) for p, n, t in lines if (m := ASKS_OTHER.search(t))), None)
    if form != "text" and other:
        pointer, line, matched = other
        sentence = (
            f"This asks for {matched['form'] or 'something that is not JSON'}, but the response format is {form}."
        )
        yield Finding("format.contradiction", "warning", sentence, pointer, line)
    elif asks_json and other:
        sentence = f"This asks for {other[2]['form'] or 'no JSON'}, but another line asks for JSON."
        yield Finding("format.contradiction", "warning", sentence, *other[:2])
    elif form == "text" and asks_json:
        sentence = "This asks for JSON in words alone; a JSON response format makes the provider hold to it."
        yield Finding("format.unenforced", "hint", sentence, *asks_json[:2])
    if form == "json_object" and not any(JSON_WORD.search(text_of(message)) for message in subject.messages):
        sentence = "The format json_object is refused by OpenAI unless some message has the word JSON."
        yield Finding("format.json_unnamed", "error", sentence, "/response/format")


def size(subject: Subject) -> Iterator[Finding]:
    advice = "evaluate fine-tuning: what is the same in every call can move into the model"
    # No fine-tune learns a picture away.
    model = str(subject.content.get("model", {}).get("name", ""))
    text_tokens = (subject.tokens or 0) - tokens.count_images(subject.messages, model)
    if text_tokens > BLOATED_TOKENS:
        yield Finding("size.tokens", "warning", f"{text_tokens:,} tokens, more than {BLOATED_TOKENS:,}; {advice}.")
    if subject.example_count > BLOATED_EXAMPLES:
        yield Finding(
            "size.examples", "warning", f"{subject.example_count} examples, more than {BLOATED_EXAMPLES}; {advice}."
        )


def repetition(subject: Subject) -> Iterator[Finding]:
    """Find sentences that occur more than once in the instructions."""
    seen: dict[str, int] = {}
    for pointer, line, text in subject.instructions():
        for match in SENTENCE.finditer(text):
            words = " ".join(match[0].casefold().split()).strip(" .!?-*")
            if len(words) < MIN_REPEATED_LENGTH:
                continue
            seen[words] = seen.get(words, 0) + 1
            if seen[words] == 2:
                sentence = f"Repeated: “{match[0].strip()[:80]}”. A second time costs tokens and adds nothing."
                yield Finding("text.repeated", "hint", sentence, pointer, line)


def rejected_examples(subject: Subject) -> Iterator[Finding]:
    """Report example answers that the response format would not accept."""
    if subject.refused is None:
        sentence = "The examples could not be checked: the schema takes too long to apply."
        yield Finding("example.unchecked", "warning", sentence, "/response/schema")
    for index, wrong in subject.refused or ():
        sentence = f"This example is not what the response format asks for: {wrong}"
        yield Finding("example.invalid", "error", sentence, f"/messages/{index}/content")


def refused_examples(content: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Return the examples that the response format refuses, with the reason.

    The schema is the user's and may take exponential time: for untrusted content this runs in a child, under limits
    (`registry.rendering.pool`).
    """
    response = content.get("response", {})
    if response.get("format", "text") == "text":
        return []
    candidates = Subject(content, frozenset(), None).examples
    checked = (
        (index, _schema_violation(text, response.get("schema")))
        for index, text in candidates
        if not re.search("{[{%]", text)
    )
    return [(index, wrong) for index, wrong in checked if wrong]


def strict_schema(subject: Subject) -> Iterator[Finding]:
    """Find what providers refuse in a strict schema: an object that leaves members open."""
    response = subject.content.get("response", {})
    for pointer, schema in _objects(response.get("schema"), "/response/schema") if response.get("strict") else ():
        properties, required = schema.get("properties"), schema.get("required")
        named = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
        if schema.get("additionalProperties") is not False:
            sentence = "A strict schema needs additionalProperties: false in each object."
            yield Finding("schema.not_strict", "error", sentence, pointer)
        elif missing := sorted((properties if isinstance(properties, dict) else {}).keys() - set(named)):
            sentence = f"A strict schema requires all members; not required here: {', '.join(missing)[:300]}."
            yield Finding("schema.not_strict", "error", sentence, pointer)


def emptiness(subject: Subject) -> Iterator[Finding]:
    """Find empty messages."""
    for index, message in enumerate(subject.messages):
        is_more = message["role"] == PLACEHOLDER or images_of(message) or message.get("tool_calls")
        if not is_more and not text_of(message).strip():
            pointer = "/text" if "text" in subject.content else f"/messages/{index}/content"
            yield Finding("text.empty", "warning", "This message is empty; the model gets it all the same.", pointer)


def undeclared_tools(subject: Subject) -> Iterator[Finding]:
    """Find calls of tools that the prompt does not give to the model."""
    declared = {tool["function"]["name"] for tool in subject.content.get("tools", ())}
    for index, message in enumerate(subject.messages):
        for number, call in enumerate(message.get("tool_calls", ())):
            if (name := call["function"]["name"]) not in declared:
                sentence = f"This calls {name}, which is not among the prompt’s tools."
                pointer = f"/messages/{index}/tool_calls/{number}/function/name"
                yield Finding("tool.undeclared", "warning", sentence, pointer)


def unescaped_arguments(subject: Subject) -> Iterator[Finding]:
    """Find variables between quotation marks in the arguments of calls: one in their value breaks the JSON."""
    for index, message in enumerate(subject.messages):
        for number, call in enumerate(message.get("tool_calls", ())):
            texts = [text for text in EXPRESSION_OR_TEXT.findall(call["function"]["arguments"]) if text[0] == '"']
            if name := next((match[1] for text in texts if (match := VARIABLE_ALONE.search(text))), None):
                sentence = (
                    f"A quotation mark in {name} would break this JSON: write {{{{ {name} | tojson }}}} without "
                    "quotation marks around it."
                )
                pointer = f"/messages/{index}/tool_calls/{number}/function/arguments"
                yield Finding("tool.unescaped", "warning", sentence, pointer)


def refused_by_model(subject: Subject) -> Iterator[Finding]:
    """Find what the model that the prompt names refuses, and that it ends."""
    model = str(subject.content.get("model", {}).get("name", ""))
    profile = get_profile(model) if subject.profile is None else subject.profile
    for refusal in refusals(subject.content, profile):
        yield Finding("model.refuses", "error", refusal.sentence, refusal.pointer)
    if profile.shutdown_date:
        successor = f" Its maker names {profile.successor} as its successor." if profile.successor else ""
        verb = "is" if profile.shutdown_date > datetime.now(UTC).date() else "was"
        sentence = f"{model} {verb} shut down on {profile.shutdown_date}.{successor}"
        yield Finding("model.ends", "warning", sentence, "/model/name")


def retrieval(subject: Subject) -> Iterator[Finding]:
    """Find a search whose results are not shown, and results that stand where instructions do."""
    if "retrieval" not in subject.content:
        return
    sources = templates(subject.content)
    showing = [
        pointer for pointer, text in sources.items() if SHOWS_CONTEXT.search(text) and pointer != RETRIEVAL_QUERY
    ]
    if not showing and CONTEXT not in subject.inherited:
        sentence = f"It searches a collection, and no template shows what was found: write {{{{ {CONTEXT} }}}}."
        yield Finding("retrieval.unused", "warning", sentence, "/retrieval")
    for pointer in showing:
        parts = pointer.split("/")
        if parts[1] == "messages" and subject.messages[int(parts[2])]["role"] in ("system", "developer"):
            sentence = (
                "What documents say stands among the instructions, and may be taken for one; show it to the user's."
            )
            yield Finding("retrieval.instructs", "warning", sentence, pointer)


RULES: tuple[Callable[[Subject], Iterable[Finding]], ...] = (
    variables,
    answer_format,
    size,
    repetition,
    rejected_examples,
    strict_schema,
    emptiness,
    undeclared_tools,
    unescaped_arguments,
    refused_by_model,
    retrieval,
)


def _schema_violation(text: str, schema: Any) -> str | None:
    """Return what is wrong with an answer, or None; also None where the schema cannot be applied here."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"it is no JSON ({error})."
    if schema is None:
        return None
    try:
        return next((f"{violation}." for violation in violations(schema, value)), None)
    except UnusableSchemaError:
        return None


# Where a schema holds other schemas: as itself, in a list, or by name. Anything else in it is data.
SCHEMA_MEMBERS = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"})
SCHEMA_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
SCHEMA_MAPS = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})


def _objects(schema: Any, pointer: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every schema of an object in a schema, with its pointer."""
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" or "properties" in schema:
        yield pointer, schema
    for name, member in schema.items():
        if name in SCHEMA_MEMBERS:
            yield from _objects(member, f"{pointer}/{name}")
        elif name in SCHEMA_LISTS and isinstance(member, list):
            for index, item in enumerate(member):
                yield from _objects(item, f"{pointer}/{name}/{index}")
        elif name in SCHEMA_MAPS and isinstance(member, dict):
            for key, item in member.items():
                yield from _objects(item, f"{pointer}/{name}/{escape_pointer(key)}")
