"""Prompts of OpenAI: prompt objects, and requests and responses with a prompt. Pure."""

from collections.abc import Mapping

from registry.interop.importers.draft import KEPT_SETTINGS, Draft, Importer, Item, text_of


def _name(item: Item, number: int) -> str:
    prompt = item.get("prompt")
    named = prompt if isinstance(prompt, Mapping) else item
    return (
        text_of(item.get("name")) or text_of(named.get("id")) or text_of(named.get("prompt_id")) or f"prompt-{number}"
    )


def _read(item: Item, draft: Draft) -> None:
    """Read a prompt object, a request made from one, or the response to a request that named one."""
    messages: list[object] = []
    for member in ("instructions", "messages", "input"):
        value = item.get(member)
        if isinstance(value, str):
            messages.append({"role": "user" if member == "input" else "developer", "content": value})
        elif isinstance(value, list):
            messages += value
    draft.chat(messages)
    prompt = item.get("prompt")
    variables = prompt.get("variables") if isinstance(prompt, Mapping) else None
    if isinstance(variables, Mapping) and variables and item.get("object") == "response":
        names = ", ".join(map(str, variables))
        draft.notes.append(f"A response has its variables filled in already ({names}); write them back as {{{{…}}}}.")
    settings = ("model", "reasoning", "text", "tools", "response_format", *KEPT_SETTINGS, "max_output_tokens")
    draft.settings({name: item[name] for name in settings if name in item})


IMPORTER = Importer("a prompt of OpenAI's", ("data", "prompts"), _name, _read)
