"""Versions of MLflow's prompts. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from core.errors import Problem
from registry.interop.importers.draft import Draft, Importer, Item, as_plain, list_of, name_of, text_of
from registry.interop.importers.text import UNREADABLE


def _tags(item: Item) -> Mapping[str, str]:
    """Return a model version's tags, in which MLflow stores prompts: as pairs from REST, as a mapping from Python."""
    tags = item.get("tags")
    if isinstance(tags, Mapping):
        return tags
    return {text_of(tag.get("key")): text_of(tag.get("value")) for tag in list_of(tags) if isinstance(tag, Mapping)}


def _json(value: Any) -> Any:
    """Return the content of a tag: JSON as text."""
    try:
        return as_plain(json.loads(value)) if isinstance(value, str) and value else value
    except (ValueError, RecursionError):
        raise Problem(UNREADABLE, f"{value[:60]!r} is not JSON.") from None


def _read(item: Item, draft: Draft) -> None:
    tags = _tags(item)
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


IMPORTER = Importer("versions of MLflow's prompts", ("model_versions", "prompts", "prompt_versions"), name_of, _read)
