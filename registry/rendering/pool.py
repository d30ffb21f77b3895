"""Rendering of untrusted templates in child processes, under limits of processor time, memory and output."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.content import EXAMPLES_QUERY
from core.errors import Problem
from core.examples import Shot
from core.rendering import Content, Survey
from core.template_language import Analysis
from infra.limited.pool import LimitedPool, problem_from_dict
from registry.content import schema_check
from registry.rendering import jobs


class RendererPool(LimitedPool):
    """The children, and what they do with contents."""

    def __init__(self, size: int) -> None:
        super().__init__(size, modules=[jobs.__name__])

    def analyse(self, content: Content, *, owner: object = None) -> Analysis:
        """`core.rendering.analyse_content` under limits."""
        result = self.call(jobs.analyse, {"content": content}, owner=owner)
        return Analysis(frozenset(result["variables"]), tuple(result["includes"]))

    def survey(self, content: Content, partials: Sequence[Content] = (), *, owner: object = None) -> Survey:
        """`core.rendering.survey_content` under limits."""
        result = self.call(jobs.survey, {"content": content, "partials": list(partials)}, owner=owner)
        problems = tuple(problem_from_dict(problem) for problem in result["problems"])
        return Survey(frozenset(result["variables"]), tuple(result["includes"]), problems, result["places_examples"])

    def refused_examples(self, content: Content, *, owner: object = None) -> list[tuple[int, str]]:
        """`registry.content.lint.refused_examples` under limits."""
        refused = self.call(jobs.refused_examples, {"content": content}, owner=owner)
        return [(index, why) for index, why in refused]

    def violations(
        self, schema: Mapping[str, Any], texts: Sequence[str], *, limit: int = 1, owner: object = None
    ) -> list[list[str]]:
        """`registry.content.schema_check.violations_of_text` for each text, under limits; a check that exceeds them is
        a violation too, which says so."""
        arguments = {"schema": schema, "limit": limit}
        how: dict[str, Any] = {"owner": owner, "code": schema_check.TOO_EXPENSIVE, "subject": schema_check.SUBJECT}
        results = self.call_many(schema_check.check_texts, texts, arguments, **how)
        return [[result.detail] if isinstance(result, Problem) else result for result in results]

    def redact(self, value: Any, presets: Sequence[str], patterns: Sequence[str], *, owner: object = None) -> Any:
        """`core.redaction.redact` under limits: patterns of users may take for ever."""
        arguments = {"value": value, "presets": list(presets), "patterns": list(patterns)}
        return self.call(jobs.redact, arguments, owner=owner)

    def query(
        self,
        content: Content,
        variables: Mapping[str, Any],
        partials: Mapping[str, Content],
        own: str = EXAMPLES_QUERY,
        *,
        owner: object = None,
    ) -> str:
        """`core.rendering.render_query` under limits."""
        arguments = {"content": content, "variables": variables, "partials": partials, "own": own}
        return str(self.call(jobs.render_query, arguments, owner=owner))

    def render(
        self,
        content: Content,
        variables: Mapping[str, Any],
        partials: Mapping[str, Content],
        examples: Sequence[Shot] = (),
        retrieved: Sequence[Mapping[str, Any]] | None = (),
        *,
        owner: object = None,
        is_checked: bool = True,
    ) -> dict[str, Any]:
        """`core.rendering.render` under limits."""
        shots = [shot.as_dict() for shot in examples]
        arguments: dict[str, Any] = {"content": content, "variables": variables, "partials": partials}
        arguments |= {
            "examples": shots,
            "retrieved": None if retrieved is None else list(retrieved),
            "is_checked": is_checked,
        }
        request: dict[str, Any] = self.call(jobs.render, arguments, owner=owner)
        return request

    def render_all(
        self,
        content: Content,
        every: Sequence[Mapping[str, Any]],
        partials: Mapping[str, Content],
        examples: Sequence[Shot] = (),
        *,
        owner: object = None,
    ) -> list[dict[str, Any] | Problem]:
        """Render for each of many variables, in few jobs; one that exceeds a limit gets a problem of its own."""
        shots = [shot.as_dict() for shot in examples]
        arguments = {"content": content, "partials": partials, "examples": shots}
        return self.call_many(jobs.render_all, every, arguments, owner=owner)
