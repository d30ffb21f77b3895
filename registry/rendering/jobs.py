"""Jobs on untrusted contents, done in a child under limits (registry.rendering.pool). JSON in and out. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from core import redaction
from core.examples import Shot
from core.rendering import Content, Rendering, analyse_content, survey_content
from core.rendering import render as render_content
from core.rendering import render_query as render_query_of
from infra.limited.batches import do_each
from infra.limited.child import problem_as_dict
from registry.content import lint


def analyse(content: Content) -> dict[str, Any]:
    analysis = analyse_content(content)
    return {"variables": sorted(analysis.variables), "includes": list(analysis.includes)}


def survey(content: Content, partials: Sequence[Content]) -> dict[str, Any]:
    result = survey_content(content, partials)
    return {
        "variables": sorted(result.variables),
        "includes": list(result.includes),
        "problems": [problem_as_dict(problem) for problem in result.problems],
        "places_examples": result.places_examples,
    }


def refused_examples(content: Content) -> list[tuple[int, str]]:
    return lint.refused_examples(content)


def render_query(content: Content, variables: Mapping[str, Any], partials: Mapping[str, Content], own: str) -> str:
    return render_query_of(content, variables, partials, own)


def render(
    content: Content,
    variables: Mapping[str, Any],
    partials: Mapping[str, Content],
    examples: Sequence[Mapping[str, Any]],
    retrieved: Sequence[Mapping[str, Any]] | None,
    is_checked: bool,
) -> dict[str, Any]:
    shots = [_read_shot(shot) for shot in examples]
    return render_content(content, variables, partials, shots, retrieved=retrieved, is_checked=is_checked)


def render_all(
    content: Content,
    every: Sequence[Mapping[str, Any]],
    partials: Mapping[str, Content],
    examples: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Render for each of many variables, as many as fit."""
    rendering = Rendering(content, partials, [_read_shot(shot) for shot in examples])
    return do_each(rendering.request, every)


def redact(value: Any, presets: Sequence[str], patterns: Sequence[str]) -> Any:
    return redaction.redact(value, presets, patterns)


def _read_shot(document: Mapping[str, Any]) -> Shot:
    return Shot(document["input"], document["output"], document.get("note", ""), document.get("tags", ()))
