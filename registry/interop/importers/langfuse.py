"""Exports of Langfuse's prompts. Pure."""

from core.errors import Problem
from registry.interop.importers.draft import Draft, Importer, Item, name_of
from registry.interop.importers.text import UNREADABLE


def _read(item: Item, draft: Draft) -> None:
    body = item.get("prompt")
    if isinstance(body, list):
        draft.chat(body)
    elif isinstance(body, str):
        draft.content |= {"kind": "text", "text": draft.template(body)}
    else:
        sentence = "The list of prompts has no texts; ask for each one: GET /api/public/v2/prompts/{name}?version=…"
        raise Problem(UNREADABLE, sentence)
    draft.settings(item.get("config"))


IMPORTER = Importer("an export of Langfuse", ("data", "prompts"), name_of, _read, has_includes=True)
