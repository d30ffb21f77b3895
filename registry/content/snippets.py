"""Code that uses a prompt, ready to copy. Pure.

Each snippet is a whole program except for the key, which it reads from the environment (CUEBOOK_KEY): a key in a
snippet ends up in a repository.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SAMPLES = {"string": "...", "integer": 1, "number": 0.5, "boolean": True, "array": [], "object": {}}


@dataclass(frozen=True)
class Snippet:
    """One program; `about` says in a sentence what it does and needs."""

    key: str
    title: str
    about: str
    code: str


def snippets(
    server: str, name: str, selector: str, content: Mapping[str, Any], used: Iterable[str] = ()
) -> list[Snippet]:
    """Return programs that fetch or render `name@selector` from the server at this address (without a slash at its
    end).

    `content` is what the reference selects now, empty where that is nothing; the snippets pass its variables, those
    that its templates use (`used`) and it does not declare included.
    """
    variables, kind = content.get("variables", {}), content.get("kind", "chat")
    values = {variable: SAMPLES[declared.get("type", "string")] for variable, declared in variables.items()}
    values |= dict.fromkeys(sorted(set(used) - variables.keys()), SAMPLES["string"])
    address = f"{server}/api/v1/prompts/{name}/versions/{selector}"
    # Langfuse's client fills in templates itself: it cannot search a collection, and is refused.
    others = [] if "retrieval" in content else [_langfuse(server, name, selector, kind, values)]
    return [
        Snippet(
            "cuebook",
            "Python, Cuebook’s client",
            "Answers from memory, kept fresh in the background, and keeps working while the registry is down. Needs "
            "the package in Cuebook’s client directory (pip install ./client), and openai with OPENAI_API_KEY.",
            _cuebook(server, name, selector, values),
        ),
        Snippet("curl", "curl", "The version as it is stored: content, number and hash.", _curl(address)),
        Snippet(
            "render",
            "curl, rendered",
            "The request that a model provider gets for these variables.",
            _curl_render(address, values),
        ),
        Snippet(
            "python",
            "Python",
            "Fetches the prompt and checks that its content is what its hash says. Needs httpx2 and rfc8785.",
            _python(address),
        ),
        Snippet(
            "openai",
            "Python, OpenAI client",
            "Renders the prompt and calls the model. Needs httpx2 and openai, and OPENAI_API_KEY; set base_url for any "
            "other provider that speaks the protocol.",
            _openai(address, values),
        ),
        *others,
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
    model=settings.pop("name", "gpt-6-luna"),
    messages=prompt["messages"],
    response_format=prompt["response_format"],
    **settings,
)
print(completion.choices[0].message.content)"""


def _cuebook(server: str, name: str, selector: str, values: Mapping[str, Any]) -> str:
    return f"""import os

from cuebook import Cuebook
from openai import OpenAI

cuebook = Cuebook("{server}", os.environ["CUEBOOK_KEY"])
variables = {values!r}

completion = OpenAI().chat.completions.create(**cuebook.render("{name}@{selector}", **variables))
print(completion.choices[0].message.content)"""


def _python(address: str) -> str:
    return f"""import hashlib
import os

import httpx2
import rfc8785

answer = httpx2.get(
    "{address}",
    headers={{"Authorization": f"Bearer {{os.environ['CUEBOOK_KEY']}}"}},
)
answer.raise_for_status()
version = answer.json()

digest = hashlib.sha256(rfc8785.dumps(version["content"])).hexdigest()
assert version["hash"] == f"sha256:{{digest}}"
print(version["reference"], version["content"])"""


def _langfuse(server: str, name: str, selector: str, kind: str, values: Mapping[str, Any]) -> Snippet:
    version_argument = f"version={selector}" if selector.isdigit() else f"label={selector!r}"
    arguments = ", ".join(f"{variable}={value!r}" for variable, value in values.items())
    code = f"""import os

from langfuse import Langfuse

_, public, secret = os.environ["CUEBOOK_KEY"].split("_")
langfuse = Langfuse(public_key=public, secret_key=secret, base_url="{server}", tracing_enabled=False)

prompt = langfuse.get_prompt("{name}", {version_argument}, type="{kind}")
print(prompt.compile({arguments}))
print(prompt.config)"""
    return Snippet(
        "langfuse",
        "Python, Langfuse’s client",
        "Unchanged, pointed here: its public key is the id in the key (cbk_ID_SECRET), its secret key the rest. It "
        "fills in variables and nothing else; a prompt with conditions, loops or filters is refused in words.",
        code,
    )
