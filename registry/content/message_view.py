"""Messages as pages show them: their texts, images and calls of tools, each with what a reader wants to know. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.image_data import UPLOADED
from core.messages import IMAGE, TEXT, address_of, readable_address

Message = Mapping[str, Any]


@dataclass(frozen=True)
class MessageSection:
    """One piece of a message. `kind` is text, image or call.

    `text` is the text, the address of the image, or the arguments of the call; `short_text` an address that is short
    enough to read; `picture` the data of an image that a page can show without asking another host.
    """

    kind: str
    text: str
    short_text: str = ""
    picture: str = ""
    detail: str = ""
    name: str = ""
    call_id: str = ""

    @property
    def sha256(self) -> str:
        """The hash of an image that was uploaded; empty for any other."""
        uploaded = UPLOADED.fullmatch(self.text) if self.kind == "image" else None
        return uploaded[3] if uploaded else ""


def message_sections(message: Message) -> list[MessageSection]:
    """Return the pieces of a message in the order in which a model reads them. What a draft has and cannot be read is
    left out."""
    content, calls = message.get("content"), message.get("tool_calls")
    parts = content if isinstance(content, list) else [{"type": TEXT, "text": content}] if content is not None else []
    return [
        *(section for part in parts if (section := _part_section(part))),
        *(_call_section(call) for call in (calls if isinstance(calls, list) else ()) if isinstance(call, Mapping)),
    ]


def editor_sections(message: Message) -> Sequence[MessageSection]:
    """Return the texts and images to edit: at least an empty text."""
    parts = [section for section in message_sections(message) if section.kind != "call"]
    return parts or [MessageSection("text", "")]


def _part_section(part: Any) -> MessageSection | None:
    if not isinstance(part, Mapping):
        return None
    if part.get("type") == TEXT:
        return MessageSection("text", str(part.get("text") or ""))
    if part.get("type") != IMAGE or not isinstance(part.get(IMAGE), Mapping):
        return None
    address = address_of({IMAGE: {"url": "", **part[IMAGE]}})
    is_data = address.startswith("data:image/") and "{" not in address
    detail = str(part[IMAGE].get("detail") or "")
    return MessageSection("image", address, readable_address(address), address if is_data else "", detail)


def _call_section(call: Mapping[str, Any]) -> MessageSection:
    function = call["function"] if isinstance(call.get("function"), Mapping) else {}
    name, arguments = (str(function.get(member) or "") for member in ("name", "arguments"))
    return MessageSection("call", arguments, name=name, call_id=str(call.get("id") or ""))
