"""The conversation with a model that writes synthetic cases. Pure.

The model sees what the cases are about, some examples (of the train split only: new cases must not resemble the test
cases), and which labels are rare. It answers JSON by a schema.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

INSTRUCTIONS = """\
You write cases that a prompt will be tested with. A case has variables, which the prompt is filled in with, and \
expected: what a good answer to them is.

Write {count} new cases. Vary who writes, what about, how long, how careful and in which mood; keep some of them hard, \
with answers that one could mistake. Copy nothing, and do not merely reword the cases that you are shown.
"""
ABOUT = "What they are for:\n{about}\n"
RARE = "Few cases have these labels so far, so prefer them: {labels}\n"
ANSWER = 'Answer with JSON alone: {{"cases": [{{"variables": {{{variables}}}, "expected": ...}}]}}'


def messages(
    *, about: str, variables: Sequence[str], examples: Sequence[Mapping[str, Any]], rare: Sequence[str], count: int
) -> list[dict[str, str]]:
    """Build the conversation: instructions, some cases as examples of the form, and the request."""
    parts = [INSTRUCTIONS.format(count=count)]
    if about.strip():
        parts.append(ABOUT.format(about=about.strip()))
    if rare:
        parts.append(RARE.format(labels=", ".join(rare)))
    names = ", ".join(f'"{name}": "..."' for name in variables)
    parts.append(ANSWER.format(variables=names))
    conversation = [{"role": "system", "content": "\n".join(parts)}]
    for case in examples:
        answer = {"cases": [{"variables": case["variables"], "expected": case.get("expected")}]}
        conversation += [
            {"role": "user", "content": "Write a case."},
            {"role": "assistant", "content": json.dumps(answer, ensure_ascii=False)},
        ]
    return [*conversation, {"role": "user", "content": f"Write {count} new cases." if count > 1 else "Write a case."}]


def response_format(variables: Sequence[str], expected: object) -> dict[str, Any]:
    """Build the schema of an answer. `expected` is that of an existing case: the new ones have the same form."""
    case = {
        "type": "object",
        "properties": {
            "variables": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in variables},
                "required": list(variables),
                "additionalProperties": False,
            },
            "expected": _form_of(expected),
        },
        "required": ["variables", "expected"],
        "additionalProperties": False,
    }
    cases = {"type": "array", "items": case}
    schema = {"type": "object", "properties": {"cases": cases}, "required": ["cases"], "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "cases", "schema": schema, "strict": True}}


def _form_of(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int | float):
        return {"type": "number"}
    if isinstance(value, list):
        return {"type": "array", "items": _form_of(value[0]) if value else {"type": "string"}}
    if isinstance(value, dict):
        members = {name: _form_of(member) for name, member in value.items()}
        return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}
    return {"type": "string"}


def read_cases(text: str, most: int) -> list[Any]:
    """Read the cases of an answer, unchecked; none where it has another form."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return []
    cases = document.get("cases") if isinstance(document, dict) else None
    if not isinstance(cases, list):
        return []
    members = ("variables", "expected")
    return [{name: case[name] for name in members if name in case} for case in cases[:most] if isinstance(case, dict)]
