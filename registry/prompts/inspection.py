"""Inspection of a document while a user writes it: the request that the provider will get, its faults, and its cost.

Nothing is stored. Each part is independent: a broken schema does not hide the preview of the messages, and a
broken message does not hide the variables of the others.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.content import full_text, has_type, templates, without_aside
from core.errors import Problem
from core.json_values import escape_pointer
from core.messages import image_variables
from core.model_settings import read_settings
from core.rendering import Survey
from infra.limited.policy import BUSY
from registry.content import lint, list_prices, tokens
from registry.content.lint import Finding
from registry.content.list_prices import CallPrice
from registry.content.message_view import message_sections
from registry.content.normalize import normalise
from registry.content.tokens import TokenCount
from registry.models import Project, Prompt, PromptVersion
from registry.prompts import includes, model_lookup, versions
from registry.prompts.versions import renderer_pool

# The preview's value for a variable without a sample value.
STAND_IN = "⟨{}⟩"
# The same for the address of an image: a grey square.
STAND_IN_IMAGE = (
    "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIHdpZHRoPSI5NiIgaGVpZ2h0PSI5NiI+PHJ"
    "lY3Qgd2lkdGg9Ijk2IiBoZWlnaHQ9Ijk2IiBmaWxsPSIjYmJiIi8+PC9zdmc+"
)
EMPTY_OF_TYPE: dict[str, Any] = {"integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}


@dataclass(frozen=True)
class Variable:
    """A variable that the content declares, one of its partials declares, or its templates just use."""

    name: str
    declared: Mapping[str, Any] | None
    is_used: bool
    is_inherited: bool = False
    # Whether its value is the address of an image.
    is_image: bool = False

    @property
    def type(self) -> str:
        return str((self.declared or {}).get("type", "string"))

    @property
    def is_required(self) -> bool:
        declared = self.declared or {}
        return bool(declared.get("required", "default" not in declared))


@dataclass(frozen=True)
class IncludedPartial:
    """A partial as the content pins it, or would pin it when it is committed."""

    name: str
    version: PromptVersion
    is_newest: bool


@dataclass(frozen=True)
class Inspection:
    """The result. A commit would refuse the `faults`, but not the `findings`. `rendered` is None where nothing can be
    rendered, and `why_not_rendered` says why."""

    content: dict[str, Any] | None = None
    faults: Sequence[Finding] = ()
    findings: Sequence[Finding] = ()
    variables: Sequence[Variable] = ()
    included: Sequence[IncludedPartial] = ()
    stand_ins: Sequence[str] = ()
    rendered: dict[str, Any] | None = None
    why_not_rendered: str = ""
    message_tokens: Sequence[int] = ()
    tokens: TokenCount | None = None
    price: CallPrice | None = None
    example_count: int = 0

    @property
    def picked(self) -> list[dict[str, Any]]:
        """The examples that were picked for these samples, as `registry.examples.few_shot` describes them."""
        return list((self.rendered or {}).get("examples", {}).get("chosen", ()))

    @property
    def searches_stand_in(self) -> bool:
        """Whether what was retrieved is for a stand-in, and says nothing of real questions."""
        query = (self.rendered or {}).get("retrieval", {}).get("query", "")
        return any(STAND_IN.format(name) in query for name in self.stand_ins)

    @property
    def can_be_committed(self) -> bool:
        return self.content is not None and not self.faults

    @property
    def as_committed(self) -> dict[str, Any] | None:
        """The content with the pins that a commit would give it now."""
        if self.content is None or not self.included:
            return self.content
        return {**self.content, "includes": {partial.name: partial.version.content_hash for partial in self.included}}


def inspect(project: Project, prompt: Prompt, document: object, samples: Mapping[str, Any]) -> Inspection:
    """Inspect a document as it stands, rendered with these sample values."""
    content, faults = _read(document)
    readable = content or _readable_part(document)
    if readable is None:
        texts = _texts_alone(document)
        survey = renderer_pool().survey(texts, owner=project.pk) if texts else None
        variables = _variables(texts, survey, {}) if texts and survey else []
        return Inspection(
            faults=faults, variables=variables, why_not_rendered="The marked message is not complete yet."
        )
    survey = renderer_pool().survey(readable, owner=project.pk)
    faults += [_fault(problem) for problem in survey.problems]
    readable, example_faults = _with_examples(project, readable, survey)
    faults += example_faults
    content = content and readable
    pinned: dict[str, PromptVersion] = {}
    try:
        pins = {name: pin for name, pin in readable.get("includes", {}).items() if name in survey.includes}
        pinned = includes.pin_includes(project, prompt, survey.includes, pins)
    except Problem as problem:
        faults.append(_include_fault(problem, readable))
    partials = _with_all_below(pinned.values())
    if partials:
        contents = [version.content for version in partials.values()]
        survey = renderer_pool().survey(readable, contents, owner=project.pk)
    if pinned:
        readable = {**readable, "includes": {name: version.content_hash for name, version in pinned.items()}}
    preview = _preview(readable, survey, partials, samples, has_faults=bool(faults), owner=project.pk)
    inherited = _declared_variables(partials.values())
    variables = _variables(readable, survey, inherited)
    token_count = preview.tokens.tokens if preview.tokens else None
    refused = _refused_examples(readable, owner=project.pk) if content else ()
    profile = model_lookup.profile_in(project, str(readable.get("model", {}).get("name", "")))
    subject = lint.Subject(readable, survey.variables, token_count, frozenset(inherited), refused, profile)
    return replace(
        preview,
        content=content,
        faults=faults,
        findings=[*(_findings(subject, survey) if content else ()), *_sample_findings(variables, samples)],
        variables=variables,
        included=[
            IncludedPartial(name, version, version.pk == version.prompt.head_id) for name, version in pinned.items()
        ],
        example_count=len(subject.examples) + len(preview.picked),
    )


def _with_examples(project: Project, content: dict[str, Any], survey: Survey) -> tuple[dict[str, Any], list[Finding]]:
    """Return the content with the embedder that a commit would pin, and the faults of its examples; with faults, the
    preview has no examples."""
    pinning = dict(content)
    try:
        if versions.pin_examples(project, pinning) and content["kind"] == "text" and not survey.places_examples:
            raise versions.unplaced_examples_problem()
    except Problem as problem:
        wrong = [Finding(problem.code, "error", problem.detail, "/examples")]
        return {name: member for name, member in content.items() if name != "examples"}, wrong
    return pinning, []


def _findings(subject: lint.Subject, survey: Survey) -> list[Finding]:
    """Return the lint findings; unused variables only where all templates can be read."""
    findings = lint.lint(subject)
    return [finding for finding in findings if not (survey.problems and finding.code == lint.UNUSED)]


def _refused_examples(content: Mapping[str, Any], *, owner: int) -> list[tuple[int, str]] | None:
    """Return examples that the response format refuses; None where checking them takes too long."""
    if content.get("response", {}).get("format", "text") == "text":
        return []
    try:
        return renderer_pool().refused_examples(content, owner=owner)
    except Problem as problem:
        if problem.code == BUSY:
            raise
        return None


def _read(document: object) -> tuple[dict[str, Any] | None, list[Finding]]:
    """Return the normal form, or the faults of the document."""
    try:
        return normalise(without_aside(document)), []
    except Problem as problem:
        faults = [Finding(fault.code, "error", fault.message, fault.pointer) for fault in problem.faults]
        return None, faults or [_fault(problem)]


def _readable_part(document: object) -> dict[str, Any] | None:
    """Return the normal form of the messages, with settings and variables where those are readable too."""
    if not isinstance(document, dict):
        return None
    for members in (("model", "variables"), ()):
        part = {name: document.get(name) for name in ("kind", "messages", "text", "includes", *members)}
        try:
            return normalise({name: value for name, value in part.items() if value is not None})
        except Problem:
            continue
    return None


def _texts_alone(document: object) -> dict[str, Any] | None:
    """Return the templates of a draft with an unfinished message, as texts, with the variables that it declares: its
    variables are those that were there before."""
    if not isinstance(document, dict):
        return None
    messages = document.get("messages")
    sources = [
        section.text
        for message in (messages if isinstance(messages, list) else ())
        if isinstance(message, dict)
        for section in message_sections(message)
    ]
    part = {"kind": "text", "text": "\n".join(sources), "variables": document.get("variables")}
    try:
        return normalise({name: value for name, value in part.items() if value is not None})
    except Problem:
        return None


def _with_all_below(pinned: Iterable[PromptVersion]) -> dict[str, PromptVersion]:
    """Return the pinned versions and all that they include, by hash."""
    direct = list(pinned)
    return {version.content_hash: version for version in direct} | includes.get_partials(direct)


def _preview(
    content: Mapping[str, Any],
    survey: Survey,
    partials: Mapping[str, PromptVersion],
    samples: Mapping[str, Any],
    *,
    has_faults: bool,
    owner: int,
) -> Inspection:
    """Render with the samples, and with stand-ins where there are none; count and price the result."""
    if survey.problems or (has_faults and survey.includes and not partials):
        return Inspection(why_not_rendered="Fix the marked faults to see the preview.")
    contents = {pinned: version.content for pinned, version in partials.items()}
    values, stand_ins = _values(content, _variables(content, survey, _declared_variables(partials.values())), samples)
    try:
        rendered = versions.render_request(owner, content, values, contents, is_checked=not stand_ins)
    except Problem as problem:
        return Inspection(stand_ins=stand_ins, why_not_rendered=problem.detail)
    model = str(content.get("model", {}).get("name", ""))
    total = tokens.count_messages(rendered["messages"], model)
    longest = read_settings(content.get("model", {})).max_output_tokens
    return Inspection(
        rendered=rendered,
        stand_ins=stand_ins,
        tokens=total,
        message_tokens=[tokens.count_message(message, model).tokens for message in rendered["messages"]],
        price=list_prices.price_per_thousand_calls(model, total.tokens, longest),
    )


def _values(
    content: Mapping[str, Any], variables: Iterable[Variable], samples: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return the values that the preview is rendered with, and the names that have a stand-in."""
    values: dict[str, Any] = {}
    stand_ins = []
    placed = {message["name"] for message in content.get("messages", ()) if message["role"] == "placeholder"}
    for variable in variables:
        if _sample_fits(variable, samples.get(variable.name)):
            values[variable.name] = samples[variable.name]
        elif variable.name in placed:
            values[variable.name] = []
        elif variable.is_required:
            stand_in = STAND_IN_IMAGE if variable.is_image else STAND_IN.format(variable.name)
            values[variable.name] = EMPTY_OF_TYPE.get(variable.type, stand_in)
            stand_ins.append(variable.name)
    return values, stand_ins


def _sample_fits(variable: Variable, sample: Any) -> bool:
    """Return whether the sample has the variable's type; an undeclared variable accepts any."""
    return sample is not None and (variable.declared is None or has_type(sample, variable.type))


def _sample_findings(variables: Iterable[Variable], samples: Mapping[str, Any]) -> Iterator[Finding]:
    for variable in variables:
        if samples.get(variable.name) is not None and not _sample_fits(variable, samples[variable.name]):
            sentence = f"The sample value is not of type {variable.type}; the preview shows a stand-in."
            yield Finding("sample.type", "warning", sentence, f"/variables/{escape_pointer(variable.name)}")


def _declared_variables(partials: Iterable[PromptVersion]) -> dict[str, Mapping[str, Any]]:
    """Return the variables that partials declare; of several declarations the first counts, as it does when
    rendering."""
    declared: dict[str, Mapping[str, Any]] = {}
    for partial in partials:
        for name, variable in partial.content.get("variables", {}).items():
            declared.setdefault(name, variable)
    return declared


def _variables(
    content: Mapping[str, Any], survey: Survey, inherited: Mapping[str, Mapping[str, Any]]
) -> list[Variable]:
    """Return all variables in the order of the text; those that it does not name come last."""
    declared = content.get("variables", {})
    others = sorted(survey.variables - declared.keys())
    text = full_text(content)
    images = image_variables(content.get("messages", ()))
    variables = [
        *(
            Variable(name, variable, name in survey.variables or bool(survey.problems), is_image=name in images)
            for name, variable in declared.items()
        ),
        *(
            Variable(name, inherited.get(name), is_used=True, is_inherited=name in inherited, is_image=name in images)
            for name in others
        ),
    ]
    return sorted(variables, key=lambda variable: (text.find(variable.name) + len(text) + 1) % (len(text) + 1))


def _fault(problem: Problem) -> Finding:
    pointer, line = problem.members.get("pointer", ""), problem.members.get("line")
    # The page shows the line already.
    message = problem.detail.removesuffix(f" (line {line})")
    return Finding(problem.code, "error", message, pointer, line)


def _include_fault(problem: Problem, content: Mapping[str, Any]) -> Finding:
    """Return the finding for an include that cannot be pinned, at its line."""
    include_name = str(problem.members.get("include", ""))
    for pointer, source in templates(content).items() if include_name else ():
        for number, line in enumerate(source.split("\n"), start=1):
            if include_name in line and "include" in line:
                return Finding(problem.code, "error", problem.detail, pointer, number)
    return Finding(problem.code, "error", problem.detail)
