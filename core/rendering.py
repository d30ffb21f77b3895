"""Rendering of a version's content and variables to a provider's request. Pure: server and client share it.

Untrusted templates go through registry.rendering.pool, which runs this module under limits in a child process.
"""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Template

from .content import DEFAULTS, EXAMPLES_PLACEHOLDER, EXAMPLES_QUERY, has_type, partial_source, query_template, templates
from .errors import Fault, Problem
from .example_selection import example_messages as as_messages
from .examples import Shot
from .messages import is_message, without_empty, write_message
from .retrieval import CONTEXT, Context
from .template_language import Analysis, PromptEnvironment, analyse

MAX_OUTPUT_CHARACTERS = 1_000_000
MAX_ERROR = 300
NOT_TEXT = re.compile("[\\0\\ud800-\\udfff]")
# The root content's name among templates: its own hash is not needed to render it.
ROOT = "root"

Content = Mapping[str, Any]


def analyse_content(content: Content) -> Analysis:
    """Return all variables and includes of a content's templates; the variables include placeholders, but `examples`
    only where a template iterates over them itself."""
    analyses = [analyse(source, pointer) for pointer, source in templates(content).items()]
    variables = {name for analysis in analyses for name in analysis.variables}
    placeholders = {message["name"] for message in content.get("messages", ()) if message["role"] == "placeholder"}
    includes = dict.fromkeys(name for analysis in analyses for name in analysis.includes)
    return Analysis(frozenset(variables | (placeholders - {EXAMPLES_PLACEHOLDER})), tuple(includes))


@dataclass(frozen=True)
class Survey:
    """The analysis of a content that is still being written, with a problem for each faulty template."""

    variables: frozenset[str]
    includes: tuple[str, ...]
    problems: tuple[Problem, ...]
    # Whether the content says where its examples go.
    places_examples: bool = True


def survey_content(content: Content, partials: Sequence[Content] = ()) -> Survey:
    """Analyse a content like `analyse_content`, but collect a problem for every faulty template and analyse the others.

    The variables include those of the partials, but not the examples that the content picks itself.
    """
    variables: set[str] = {
        message["name"]
        for message in content.get("messages", ())
        if message["role"] == "placeholder" and message["name"] != EXAMPLES_PLACEHOLDER
    }
    includes: dict[str, None] = {}
    problems = []
    for pointer, source in templates(content).items():
        try:
            analysis = analyse(source, pointer)
        except Problem as problem:
            problems.append(problem)
            continue
        variables |= analysis.variables
        includes |= dict.fromkeys(analysis.includes)
    for partial in partials:
        variables |= analyse_content(partial).variables
    placed = places_examples(content, frozenset(variables))
    if "examples" in content:
        variables.discard(EXAMPLES_PLACEHOLDER)
    if "retrieval" in content:
        variables.discard(CONTEXT)
    return Survey(frozenset(variables), tuple(includes), tuple(problems), placed)


def places_examples(content: Content, variables: frozenset[str]) -> bool:
    """Return whether a content says where its examples go: by a placeholder, or in a template that uses them."""
    placed = any(message.get("name") == EXAMPLES_PLACEHOLDER for message in content.get("messages", ()))
    return placed or EXAMPLES_PLACEHOLDER in variables


def render_query(
    content: Content, variables: Mapping[str, Any], partials: Mapping[str, Content], own: str = EXAMPLES_QUERY
) -> str:
    """Render the query that examples are compared with, or that a collection is searched for (`own` is the pointer of
    the content's own), for these variables. Refuses as `render` does."""
    values = {**bind_variables(content.get("variables", {}), variables), EXAMPLES_PLACEHOLDER: []}
    if "retrieval" in content:
        # Nothing is found yet: a last text of the user that shows it is searched for without it.
        values[CONTEXT] = ""
    return _Writer(_Templates(content, partials), values).write(query_template(content, own))


def render(
    content: Content,
    variables: Mapping[str, Any],
    partials: Mapping[str, Content],
    examples: Sequence[Shot] = (),
    *,
    retrieved: Sequence[Mapping[str, Any]] | None = (),
    is_checked: bool = True,
) -> dict[str, Any]:
    """Return the provider-ready request: `messages`, `model`, `response_format` and `tools` (`text` for a text prompt).

    `partials` has every included version's content by hash, those of the partials too; `examples` is what was picked
    (core.example_selection), `retrieved` the chunks of the collection that it searches (core.retrieval), None where it
    is measured without: then `context` is an empty text. Raises `render.missing_variable`, `render.invalid_variable`,
    `template.failed` or `template.too_expensive`.
    """
    return Rendering(content, partials, examples, is_checked=is_checked).request(variables, retrieved)


class Rendering:
    """A content that is rendered for several variables: its templates are compiled once. Threads may share it."""

    def __init__(
        self,
        content: Content,
        partials: Mapping[str, Content],
        examples: Sequence[Shot] = (),
        *,
        is_checked: bool = True,
    ) -> None:
        self._content = content
        # Not where stand-ins take the place of values: what they make of an address or of arguments says nothing.
        self._is_checked = is_checked
        self._templates = _Templates(content, partials)
        self._shots = examples
        self._examples = as_messages(examples)
        # The position of examples that the content does not place itself.
        self._before: int | None = None
        if examples and content["kind"] != "text":
            self._before = _default_example_position(content, partials)

    def request(
        self, variables: Mapping[str, Any], retrieved: Sequence[Mapping[str, Any]] | None = ()
    ) -> dict[str, Any]:
        """Return the request for these variables and what was found for them, as `render`."""
        content = self._content
        values = bind_variables(content.get("variables", {}), variables)
        if "retrieval" in content:
            if CONTEXT in values:
                sentence = f"{CONTEXT} is what the version's search finds; it cannot be passed."
                fault = Fault(f"/variables/{CONTEXT}", "reserved", sentence)
                raise Problem("render.invalid_variable", sentence, faults=[fault])
            values[CONTEXT] = "" if retrieved is None else Context(retrieved)
        if "examples" in content:
            # With all four members: a template that shows notes must not fail on an example without one.
            values[EXAMPLES_PLACEHOLDER] = [
                {"input": shot.input, "output": shot.output, "note": shot.note, "tags": list(shot.tags)}
                for shot in self._shots
            ]
        writer = _Writer(self._templates, values)
        request: dict[str, Any] = {"model": dict(content.get("model", {}))}
        if content["kind"] == "text":
            request["text"] = writer.write("/text")
            request["messages"] = [{"role": "user", "content": request["text"]}]
        else:
            request["messages"] = _messages(
                content, values, writer, self._examples, self._before, is_checked=self._is_checked
            )
        request["response_format"] = response_format(content.get("response", {}))
        if content.get("tools"):
            request["tools"] = content["tools"]
        return request


def bind_variables(declared: Mapping[str, Any], passed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that templates see: those passed, and defaults for the others.

    A declared variable must have its type; a required one must be passed; an optional one without a default is null.
    Undeclared variables pass through.
    """
    values = dict(passed)
    faults = []
    for name, variable in declared.items():
        if name not in passed:
            if variable.get("required", "default" not in variable):
                sentence = f"The variable {name} is required and was not passed."
                raise Problem("render.missing_variable", sentence, variable=name)
            values[name] = variable.get("default")
        elif not has_type(passed[name], kind := variable.get("type", DEFAULTS["variable"]["type"])):
            if passed[name] is None and not variable.get("required", "default" not in variable):
                continue
            faults.append(Fault(f"/variables/{name}", "type", f"Must be of type {kind}."))
    if faults:
        names = ", ".join(fault.pointer.rpartition("/")[2] for fault in faults)
        raise Problem("render.invalid_variable", f"Of the wrong type: {names}.", faults=faults)
    return values


def response_format(response: Mapping[str, Any]) -> dict[str, Any]:
    """Return `response` as the OpenAI protocol writes it."""
    form = response.get("format", DEFAULTS["response"]["format"])
    if form != "json_schema":
        return {"type": form}
    named = {name: response.get(name, DEFAULTS["response"][name]) for name in ("name", "strict")}
    return {"type": "json_schema", "json_schema": {**named, "schema": response["schema"]}}


class _Templates:
    """A content's templates with what they include, each compiled when it is first written."""

    def __init__(self, content: Content, partials: Mapping[str, Content]) -> None:
        sources = {f"{ROOT}{pointer}": source for pointer, source in templates(content).items()}
        sources |= {
            pinned: source for pinned, partial in partials.items() if (source := partial_source(partial)) is not None
        }
        pins = {ROOT: content.get("includes", {})}
        pins |= {pinned: partial.get("includes", {}) for pinned, partial in partials.items()}
        # A partial's own defaults apply where the including prompt has none.
        self.defaults: dict[str, Any] = {}
        for partial in partials.values():
            for name, variable in partial.get("variables", {}).items():
                if "default" in variable:
                    self.defaults.setdefault(name, variable["default"])
        self._environment = PromptEnvironment(sources, pins)
        self._compiled: dict[str, Template] = {}

    def __getitem__(self, pointer: str) -> Template:
        if pointer not in self._compiled:
            self._compiled[pointer] = self._environment.get_template(f"{ROOT}{pointer}")
        return self._compiled[pointer]


class _Writer:
    """Writes templates one after the other with the same values, within one limit on their output."""

    def __init__(self, templates: _Templates, values: Mapping[str, Any]) -> None:
        self._templates = templates
        self._values = {**templates.defaults, **values}
        self._left = MAX_OUTPUT_CHARACTERS

    def write(self, pointer: str) -> str:
        try:
            return self._generate(pointer)
        except Problem as problem:
            problem.members.setdefault("pointer", pointer)
            raise
        except MemoryError:
            raise Problem("template.too_expensive", "The template needs too much memory.", pointer=pointer) from None
        except RecursionError:
            raise Problem("template.too_complex", "The template is nested too deeply.", pointer=pointer) from None
        except Exception as error:
            # Any operation on the caller's values may raise, such as adding a number to text: it is the template's
            # fault, and its message may be as long as the values.
            sentence = f"The template failed: {str(error)[:MAX_ERROR]}"
            raise Problem("template.failed", sentence, pointer=pointer) from None

    def _generate(self, pointer: str) -> str:
        pieces = []
        for piece in self._templates[pointer].generate(self._values):
            self.count(piece)
            pieces.append(piece)
        text = "".join(pieces)
        if NOT_TEXT.search(text):
            raise Problem("template.failed", "The output has a NUL character or half of a surrogate pair.")
        return text

    def count(self, text: str) -> None:
        """Subtract `text` from the output that is still allowed."""
        self._left -= len(text)
        if self._left < 0:
            sentence = f"The output has more than {MAX_OUTPUT_CHARACTERS:,} characters."
            raise Problem("template.too_expensive", sentence)


def _messages(
    content: Content,
    values: Mapping[str, Any],
    writer: _Writer,
    examples: Sequence[dict[str, str]],
    before: int | None,
    *,
    is_checked: bool,
) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for index, message in enumerate(content["messages"]):
        is_placeholder = message["role"] == "placeholder"
        if index == before or (is_placeholder and message["name"] == EXAMPLES_PLACEHOLDER):
            placed: Sequence[dict[str, Any]] = examples
        elif is_placeholder:
            placed = _placed_messages(message["name"], values)
        else:
            placed = ()
        for inserted in placed:
            writer.count(inserted["content"] if isinstance(inserted.get("content"), str) else json.dumps(inserted))
        messages.extend(dict(inserted) for inserted in placed)
        if not is_placeholder:
            messages.append(write_message(message, f"/messages/{index}", writer.write, is_checked=is_checked))
    return messages


def _default_example_position(content: Content, partials: Mapping[str, Content]) -> int | None:
    """Return the position of examples that the content does not place: before the last user message. None: it does."""
    used = [analyse_content(part).variables for part in (content, *partials.values())]
    if places_examples(content, frozenset().union(*used)):
        return None
    user_positions = [index for index, message in enumerate(content["messages"]) if message["role"] == "user"]
    return user_positions[-1] if user_positions else len(content["messages"]) - 1


def _placed_messages(name: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages that the caller passes for a placeholder, such as the conversation so far."""
    if name not in values:
        raise Problem("render.missing_variable", f"The placeholder {name} needs a list of messages.", variable=name)
    passed = values[name]
    if not isinstance(passed, list):
        raise _not_messages(name, "")
    for number, message in enumerate(passed, start=1):
        if not is_message(message):
            raise _not_messages(name, f"; number {number} is none")
    # Copies: a caller may modify what it gets.
    return [copy.deepcopy(without_empty(message)) for message in passed]


def _not_messages(name: str, which: str) -> Problem:
    sentence = f'The placeholder {name} takes a list of {{"role": ..., "content": ...}} messages{which}.'
    return Problem("render.invalid_variable", sentence, faults=[Fault(f"/variables/{name}", "type", sentence)])
