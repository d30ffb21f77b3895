"""Prompts in promptfoo's configurations. Pure."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from core.errors import Problem
from core.references import MAX_PROMPT_NAME
from infra import yaml_values
from registry.interop.importers.draft import Draft, Importer, Item, as_plain, text_of
from registry.interop.importers.text import UNREADABLE

# Of a conversation written as a text; aliases of YAML must not expand a small text into a huge one.
MAX_VALUES = 5_000
# A longer text is not tried as a list.
MAX_LIST_CHARACTERS = 50_000


def _name(item: Item, number: int) -> str:
    label = text_of(item.get("label")) or text_of(item.get("id"))
    return label if label and len(label) <= MAX_PROMPT_NAME and "\n" not in label else f"prompt-{number}"


def _read(item: Item, draft: Draft) -> None:
    """Read a prompt. promptfoo's Nunjucks is nearly Jinja: templates stay as they are, and a commit checks them."""
    raw = item.get("raw")
    if isinstance(raw, str) and not raw.startswith(("file://", "exec:", "python:")):
        draft.chat(_messages(raw), is_template=True)
        draft.settings(item.get("config"))
        return
    sentence = "The prompt is in a file of its own or made by code; put its text in the list instead."
    raise Problem(UNREADABLE, sentence)


def _messages(raw: str) -> list[Any]:
    """Return the messages that a prompt's text stands for: it may be JSON or YAML; plain text is a user's message."""
    if len(raw) <= MAX_LIST_CHARACTERS and raw.lstrip().startswith(("[", "- role:")):
        messages = _parse_list(raw)
        if isinstance(messages, list) and all(
            isinstance(message, Mapping) and "role" in message for message in messages
        ):
            return list(messages)
    return [{"role": "user", "content": raw}]


# A file may name one long text many times.
@lru_cache(maxsize=16)
def _parse_list(raw: str) -> Any:
    """Parse a text that starts like a list, or return None: then it is plain text, as promptfoo takes it."""
    try:
        return as_plain(yaml_values.load(raw, UNREADABLE, max_values=MAX_VALUES))
    except Problem:
        return None


IMPORTER = Importer("a promptfoo configuration with prompts", ("prompts",), _name, _read, must_list=True)
