"""Code that uses a prompt, ready to copy. Pure.

Each snippet is a whole program but for the key, which stands in the environment as CUEBOOK_KEY: a key in a snippet
ends up in a repository.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SAMPLES = {"string": "...", "integer": 1, "number": 0.5, "boolean": True, "array": [], "object": {}}


@dataclass(frozen=True)
class Snippet:
    """`about` says in a sentence what it does and needs."""

    key: str
    title: str
    about: str
    code: str


def snippets(server: str, name: str, selector: str, variables: Mapping[str, Any]) -> list[Snippet]:
    """Programs that fetch or render `name@selector` from the server at this address (without a slash at its end)."""
    values = {variable: SAMPLES[declared.get("type", "string")] for variable, declared in variables.items()}
    address = f"{server}/api/v1/prompts/{name}/versions/{selector}"
    return [
        Snippet("curl", "curl", "The version as it is stored: content, number and hash.", _curl(address)),
        Snippet(
            "render",
            "curl, rendered",
            "The request that a model provider gets for these variables.",
            _curl_render(address, values),
        ),
        Snippet(
            "openai",
            "Python, OpenAI client",
            "Renders the prompt and calls the model. Needs httpx2 and openai, and OPENAI_API_KEY; set base_url for any "
            "other provider that speaks the protocol.",
            _openai(address, values),
        ),
    ]


def _curl(address: str) -> str:
    return f'curl -H "Authorization: Bearer $CUEBOOK_KEY" \\\n  {address}'


def _curl_render(address: str, values: Mapping[str, Any]) -> str:
    body = json.dumps({"variables": values}, ensure_ascii=False)
    return (
        'curl -H "Authorization: Bearer $CUEBOOK_KEY" -H "Content-Type: application/json" \\\n'
        f"  {address}/render \\\n  -d '{body}'"
    )


def _openai(address: str, values: Mapping[str, Any]) -> str:
    return f"""import os

import httpx2
from openai import OpenAI

answer = httpx2.post(
    "{address}/render",
    headers={{"Authorization": f"Bearer {{os.environ['CUEBOOK_KEY']}}"}},
    json={{"variables": {values!r}}},
)
answer.raise_for_status()
prompt = answer.json()

settings = dict(prompt["model"])
completion = OpenAI().chat.completions.create(
    model=settings.pop("name"),
    messages=prompt["messages"],
    response_format=prompt["response_format"],
    **settings,
)
print(completion.choices[0].message.content)"""
