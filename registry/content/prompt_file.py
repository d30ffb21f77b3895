"""A version as a text file that users read and git compares: front matter, then the messages. Pure.

    ---
    prompt: support.triage
    number: 3
    hash: sha256:...
    kind: chat
    model:
      name: gpt-6-luna
    ---
    === system ===
    You sort support tickets.
    === user ===
    {{ ticket }}

Every character of a message is kept: a message is what stands between its marker line and the next one, without the
line end before that marker. A line of the text that looks like a marker gets a backslash in front.

A message of several parts, or with calls of tools, has a marker for each below its own:

    === user ===
    === text ===
    What is wrong on this picture?
    === image low ===
    {{ screenshot }}
    === assistant ===
    === call lookup call_1 ===
    {"order": "{{ order }}"}
    === tool call_1 ===
    Sent yesterday.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from core.errors import Problem
from core.messages import IMAGE, LOOKS_LIKE_MARKER, PLACEHOLDER, TEXT, escape_markers, sections
from infra import yaml_values

MARKER = re.compile(r"=== ([a-z]+)(?: (\S+))?(?: (\S+))? ===")
# How many words may follow in a marker.
MAX_WORDS = {"image": 1, "call": 2, "tool": 1, PLACEHOLDER: 1}
FENCE = "---\n"
# Members of the content that are not text; they stand in the front matter under their own names.
CONTENT_MEMBERS = ("kind", "model", "response", "variables", "tools", "examples", "retrieval", "includes")
ABOUT_MEMBERS = {"prompt": str, "number": int, "hash": str, "message": str, "description": str, "tags": list}


@dataclass(frozen=True)
class PromptFile:
    """A version's content with its metadata."""

    prompt: str
    content: dict[str, Any]
    number: int | None = None
    hash: str | None = None
    message: str = ""
    description: str = ""
    tags: list[str] = field(default_factory=list)


class _Dumper(yaml.SafeDumper):
    """A dumper that writes long texts as blocks."""


# Characters that YAML's plain and block styles would fold, escape or lose.
NEEDS_QUOTES = re.compile(r"[^\n -~\u00a0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]|\u00a0")
NEEDS_NO_BLOCK = re.compile(r"[ \t]\n|^[ \n]|[ \t]$")


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if NEEDS_QUOTES.search(text) or not yaml_values.is_read_as_text(text):
        style = '"'
    elif "\n" in text:
        style = '"' if NEEDS_NO_BLOCK.search(text) else "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def write(file: PromptFile) -> str:
    """Return the file's text, ending in a line end."""
    about = {name: getattr(file, name) for name in ABOUT_MEMBERS}
    head = {name: value for name, value in about.items() if value not in (None, "", [])}
    head |= {name: file.content[name] for name in CONTENT_MEMBERS if name in file.content}
    front = yaml.dump(head, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return f"{FENCE}{front}{FENCE}{''.join(_sections(file.content))}"


def read(text: str) -> PromptFile:
    """Read a file written by `write` or by hand; `exchange.unreadable` says what is wrong."""
    if not text.startswith(FENCE) or f"\n{FENCE}" not in text:
        raise Problem("exchange.unreadable", "A prompt's file starts with front matter between two lines of ---.")
    front, _, body = text.removeprefix(FENCE).partition(f"\n{FENCE}")
    head = yaml_values.load(f"{front}\n", "exchange.unreadable")
    if not isinstance(head, dict) or not isinstance(head.get("prompt"), str):
        raise Problem("exchange.unreadable", "The front matter must name its prompt.")
    unknown = sorted(str(name) for name in head.keys() - set(CONTENT_MEMBERS) - set(ABOUT_MEMBERS))
    if unknown:
        raise Problem("exchange.unreadable", f"Unknown in the front matter: {', '.join(unknown)}.")
    for name, kind in ABOUT_MEMBERS.items():
        if name in head and not isinstance(head[name], kind):
            raise Problem("exchange.unreadable", f"In the front matter, {name} must be a {kind.__name__}.")
    if not all(isinstance(tag, str) for tag in head.get("tags", [])):
        raise Problem("exchange.unreadable", "In the front matter, tags must be texts.")
    content = {name: head[name] for name in CONTENT_MEMBERS if name in head}
    content.setdefault("kind", "chat")
    body_sections = _split_sections(body)
    if content["kind"] == "text":
        content["text"] = _only_text(body_sections)
    else:
        content["messages"] = _messages(body_sections)
    about = {name: head[name] for name in ABOUT_MEMBERS if name in head}
    return PromptFile(content=content, **about)


@dataclass
class _Section:
    """A marker with its words, and the lines below it."""

    kind: str
    words: list[str]
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def _sections(content: dict[str, Any]) -> list[str]:
    if content["kind"] == "text":
        return [_section(TEXT, content["text"])]
    return [section for message in content["messages"] for section in _message_sections(message)]


def _message_sections(message: dict[str, Any]) -> list[str]:
    if message["role"] == PLACEHOLDER:
        return [f"=== placeholder {message['name']} ===\n"]
    head = f"{message['role']} {message['tool_call_id']}" if "tool_call_id" in message else message["role"]
    first, *others = sections(message)
    if isinstance(message.get("content"), str):
        return [_section(head, first[1]), *(_section(*other) for other in others)]
    return [f"=== {head} ===\n", *(_section(*section) for section in (first, *others))]


def _section(heading: str, text: str) -> str:
    return f"=== {heading} ===\n{escape_markers(text)}\n"


def _split_sections(body: str) -> list[_Section]:
    read_sections: list[_Section] = []
    for line in body.removesuffix("\n").split("\n"):
        marker = MARKER.fullmatch(line)
        if marker:
            read_sections.append(_Section(marker[1], [word for word in marker.groups()[1:] if word], []))
        elif read_sections:
            read_sections[-1].lines.append(line.removeprefix("\\") if LOOKS_LIKE_MARKER.fullmatch(line) else line)
        elif line.strip():
            raise Problem("exchange.unreadable", "Text must follow a marker line such as === system ===.")
    return read_sections


def _messages(body_sections: list[_Section]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for section in body_sections:
        _refuse_lost_words(section)
        if section.kind not in (TEXT, "image", "call"):
            messages.append(_message(section))
        elif not messages or messages[-1]["role"] == PLACEHOLDER:
            sentence = f"=== {section.kind} === belongs below the message that it is a part of."
            raise Problem("exchange.unreadable", sentence)
        elif section.kind == "call":
            messages[-1].setdefault("tool_calls", []).append(_call(section))
        else:
            _add_part(messages[-1], section)
    for message in messages:
        # A marker with nothing below it, and nothing else of the message, is an empty text.
        if message["role"] != PLACEHOLDER and "tool_calls" not in message:
            message.setdefault("content", "")
    return messages


def _refuse_lost_words(section: _Section) -> None:
    """Refuse what nobody would read: words too many in a marker, and text below a placeholder."""
    most = MAX_WORDS.get(section.kind, 0)
    if len(section.words) > most:
        sentence = f"=== {section.kind} === has {len(section.words)} words after it, and can have {most}."
        raise Problem("exchange.unreadable", sentence)
    if section.kind == PLACEHOLDER and section.text.strip():
        raise Problem("exchange.unreadable", "A placeholder has no text of its own.")


def _message(section: _Section) -> dict[str, Any]:
    word = section.words[0] if section.words else ""
    if section.kind == PLACEHOLDER:
        return {"role": PLACEHOLDER, "name": word}
    message: dict[str, Any] = {"role": section.kind}
    if section.lines:
        message["content"] = section.text
    return {**message, "tool_call_id": word} if word else message


def _add_part(message: dict[str, Any], section: _Section) -> None:
    before = message.get("content")
    if not isinstance(before, list):
        # Blank lines above the first part are no text.
        message["content"] = [{"type": TEXT, "text": before}] if before and before.strip() else []
    if section.kind == TEXT:
        part: dict[str, Any] = {"type": TEXT, "text": section.text}
    else:
        detail = {"detail": section.words[0]} if section.words else {}
        part = {"type": IMAGE, IMAGE: {"url": section.text, **detail}}
    message["content"].append(part)


def _call(section: _Section) -> dict[str, Any]:
    if len(section.words) != 2:
        raise Problem("exchange.unreadable", "A call has the function's name and an id: === call lookup call_1 ===.")
    name, call_id = section.words
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": section.text}}


def _only_text(body_sections: list[_Section]) -> str:
    if [section.kind for section in body_sections] != [TEXT]:
        raise Problem("exchange.unreadable", "A text prompt has one section, === text ===.")
    return body_sections[0].text
