"""A version as a text file that users read and git compares: front matter, then the messages. Pure.

    ---
    prompt: support.triage
    number: 3
    hash: sha256:...
    kind: chat
    model:
      name: gpt-4o-mini
    ---
    === system ===
    You sort support tickets.
    === user ===
    {{ ticket }}

Every character of a message is kept: a message is what stands between its marker line and the next one, without the
line end before that marker. A line of the text that looks like a marker gets a backslash in front.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from core.errors import Problem
from infra import yaml_values

MARKER = re.compile(r"=== ([a-z]+)(?: ([^\W\d_]\w*))? ===")
LOOKS_LIKE_MARKER = re.compile(r"\\*=== .* ===")
FENCE = "---\n"
# Members of the content that are not text; they stand in the front matter under their own names.
CONTENT_MEMBERS = ("kind", "model", "response", "variables", "tools", "examples", "includes")
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
    if NEEDS_QUOTES.search(text):
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
    sections = _split_sections(body)
    if content["kind"] == "text":
        content["text"] = _only_text(sections)
    else:
        content["messages"] = [_message(role, name, text) for role, name, text in sections]
    about = {name: head[name] for name in ABOUT_MEMBERS if name in head}
    return PromptFile(content=content, **about)


def _sections(content: dict[str, Any]) -> list[str]:
    if content["kind"] == "text":
        return [f"=== text ===\n{_escape_markers(content['text'])}\n"]
    return [
        f"=== placeholder {message['name']} ===\n"
        if message["role"] == "placeholder"
        else f"=== {message['role']} ===\n{_escape_markers(message['content'])}\n"
        for message in content["messages"]
    ]


def _split_sections(body: str) -> list[tuple[str, str | None, str]]:
    """Split the body into (role, name, text) of each section."""
    sections: list[tuple[str, str | None, list[str]]] = []
    for line in body.removesuffix("\n").split("\n"):
        marker = MARKER.fullmatch(line)
        if marker:
            sections.append((marker[1], marker[2], []))
        elif sections:
            sections[-1][2].append(line.removeprefix("\\") if LOOKS_LIKE_MARKER.fullmatch(line) else line)
        elif line.strip():
            raise Problem("exchange.unreadable", "Text must follow a marker line such as === system ===.")
    return [(role, name, "\n".join(lines)) for role, name, lines in sections]


def _message(role: str, name: str | None, text: str) -> dict[str, str]:
    if role == "placeholder":
        return {"role": role, "name": name or ""}
    return {"role": role, "content": text}


def _only_text(sections: list[tuple[str, str | None, str]]) -> str:
    if [role for role, _, _ in sections] != ["text"]:
        raise Problem("exchange.unreadable", "A text prompt has one section, === text ===.")
    return sections[0][2]


def _escape_markers(text: str) -> str:
    return "\n".join(f"\\{line}" if LOOKS_LIKE_MARKER.fullmatch(line) else line for line in text.split("\n"))
