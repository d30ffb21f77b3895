"""How other products write their prompts: OpenAI, Langfuse, promptfoo and MLflow. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from core.errors import Problem
from core.references import LONGEST_NAME
from infra import yaml_values
from registry.interop.importers.draft import KEPT_SETTINGS, Draft, Item, as_plain, list_of, text_of
from registry.interop.importers.text import UNREADABLE

# A conversation that a text stands for; aliases of YAML must not make much out of little.
MOST_VALUES = 5_000
# A text that is longer is not tried as a list.
LONGEST_LIST = 50_000


@dataclass(frozen=True)
class Reader:
    """How one product writes its prompts. `lists` are members that hold several; `version` reads one."""

    looks_like: str
    lists: Sequence[str]
    name: Callable[[Item, int], str]
    version: Callable[[Item, Draft], None]
    includes: bool = False
    must_list: bool = False


def _openai_name(item: Item, number: int) -> str:
    prompt = item.get("prompt")
    known = prompt if isinstance(prompt, Mapping) else item
    return (
        text_of(item.get("name")) or text_of(known.get("id")) or text_of(known.get("prompt_id")) or f"prompt-{number}"
    )


def _openai(item: Item, draft: Draft) -> None:
    """A prompt object, a request made from one, or the answer to a request that named one."""
    messages: list[object] = []
    for member in ("instructions", "messages", "input"):
        value = item.get(member)
        if isinstance(value, str):
            messages.append({"role": "user" if member == "input" else "developer", "content": value})
        elif isinstance(value, list):
            messages += value
    draft.chat(messages)
    prompt = item.get("prompt")
    filled = prompt.get("variables") if isinstance(prompt, Mapping) else None
    if isinstance(filled, Mapping) and filled and item.get("object") == "response":
        names = ", ".join(map(str, filled))
        draft.notes.append(f"An answer has its variables filled in already ({names}); write them back as {{{{…}}}}.")
    settings = ("model", "reasoning", "text", "tools", "response_format", *KEPT_SETTINGS, "max_output_tokens")
    draft.settings({name: item[name] for name in settings if name in item})


def _named(item: Item, number: int) -> str:
    return text_of(item.get("name")) or f"prompt-{number}"


def _langfuse(item: Item, draft: Draft) -> None:
    body = item.get("prompt")
    if isinstance(body, list):
        draft.chat(body)
    elif isinstance(body, str):
        draft.content |= {"kind": "text", "text": draft.template(body)}
    else:
        sentence = "The list of prompts has no texts; ask for each one: GET /api/public/v2/prompts/{name}?version=…"
        raise Problem(UNREADABLE, sentence)
    draft.settings(item.get("config"))


def _promptfoo_name(item: Item, number: int) -> str:
    label = text_of(item.get("label")) or text_of(item.get("id"))
    return label if label and len(label) <= LONGEST_NAME and "\n" not in label else f"prompt-{number}"


def _promptfoo(item: Item, draft: Draft) -> None:
    """promptfoo fills in Nunjucks, whose templates are nearly Jinja's: they stay as they are, and a commit checks."""
    raw = item.get("raw")
    if isinstance(raw, str) and not raw.startswith(("file://", "exec:", "python:")):
        draft.chat(_promptfoo_messages(raw), is_template=True)
        draft.settings(item.get("config"))
        return
    sentence = "The prompt stands in a file of its own or is made by code; put its text in the list instead."
    raise Problem(UNREADABLE, sentence)


def _promptfoo_messages(raw: str) -> list[Any]:
    """The messages that a prompt's text stands for: it may be JSON or YAML; plain text is what the user says."""
    if len(raw) <= LONGEST_LIST and raw.lstrip().startswith(("[", "- role:")):
        found = _listed(raw)
        if isinstance(found, list) and all(isinstance(one, Mapping) and "role" in one for one in found):
            return list(found)
    return [{"role": "user", "content": raw}]


# A file may name one long text many times.
@lru_cache(maxsize=16)
def _listed(raw: str) -> Any:
    """The list that a text starts like, or None: then it is text, as promptfoo takes it."""
    try:
        return as_plain(yaml_values.load(raw, UNREADABLE, most=MOST_VALUES))
    except Problem:
        return None


def _mlflow_tags(item: Item) -> Mapping[str, str]:
    """A model version's tags, which MLflow keeps its prompts in: as pairs from REST, as a mapping from Python."""
    tags = item.get("tags")
    if isinstance(tags, Mapping):
        return tags
    return {text_of(tag.get("key")): text_of(tag.get("value")) for tag in list_of(tags) if isinstance(tag, Mapping)}


def _json(value: Any) -> Any:
    """What a tag of MLflow's holds: JSON as text."""
    try:
        return as_plain(json.loads(value)) if isinstance(value, str) and value else value
    except (ValueError, RecursionError):
        raise Problem(UNREADABLE, f"{value[:60]!r} is not JSON.") from None


def _mlflow(item: Item, draft: Draft) -> None:
    tags = _mlflow_tags(item)
    body: Any = item.get("template", tags.get("mlflow.prompt.text"))
    kind = tags.get("_mlflow_prompt_type") or ("chat" if isinstance(body, list) else "text")
    if kind == "chat":
        draft.chat(_json(body))
    elif isinstance(body, str):
        draft.content |= {"kind": "text", "text": body if kind == "jinja2" else draft.template(body)}
    else:
        raise Problem(UNREADABLE, "The version has no template, and no tag mlflow.prompt.text.")
    settings = item.get("model_config") or tags.get("_mlflow_prompt_model_config")
    draft.settings(_json(settings))
    schema = _json(item.get("response_format") or tags.get("_mlflow_prompt_response_format"))
    if isinstance(schema, Mapping) and schema:
        draft.content["response"] = {"format": "json_schema", "schema": dict(schema)}


READERS: Mapping[str, Reader] = {
    "openai": Reader("a prompt of OpenAI's", ("data", "prompts"), _openai_name, _openai),
    "langfuse": Reader("an export of Langfuse", ("data", "prompts"), _named, _langfuse, includes=True),
    "promptfoo": Reader(
        "a promptfoo configuration with prompts", ("prompts",), _promptfoo_name, _promptfoo, must_list=True
    ),
    "mlflow": Reader("versions of MLflow's prompts", ("model_versions", "prompts", "prompt_versions"), _named, _mlflow),
}
