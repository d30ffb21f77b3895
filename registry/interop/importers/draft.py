"""The draft that importers fill for each version of another product's prompt: its content, and what was left out.
Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import Fault, Problem
from core.json_values import normalise_json
from registry.content.normalize import SETTING_RANGES
from registry.interop.importers.messages import join_calls, read_message
from registry.interop.importers.text import NAMED, UNREADABLE, Variables, template

MAX_MESSAGE = 200
# Settings of a request that are kept, beside those with a range; anything else would reach the model's server
# unchecked.
KEPT_SETTINGS = frozenset({*SETTING_RANGES, "stop", "reasoning_effort", "verbosity", "parallel_tool_calls"})

Item = Mapping[str, Any]
# Returns the reference for an inclusion, from the included name, and `version` or `label` and its value.
Include = Callable[[str, str, str], str]


@dataclass(frozen=True)
class SourceVersion:
    """A version as it would be committed. `source` is its name in the other product, `labels` where it was live."""

    source: str
    content: Mapping[str, Any]
    message: str = ""
    labels: Sequence[str] = ()
    notes: Sequence[str] = ()


class Draft:
    """A version being read: its content, and notes of what was left out."""

    def __init__(self, include: Include | None) -> None:
        self.content: dict[str, Any] = {}
        self.notes: list[str] = []
        self._variables = Variables()
        self._include = include

    def template(self, text: str) -> str:
        return template(text, self._variables, self._include)

    def message(self, item: object, *, is_template: bool = False) -> dict[str, Any]:
        """Read one message. What cannot be read refuses the prompt: without it, it would be another prompt."""
        if not isinstance(item, Mapping):
            raise Problem(UNREADABLE, f"A message of the kind {str(item)[:60]!r} is not supported in prompts.")
        if item.get("type") == "placeholder":
            return {"role": "placeholder", "name": self._placeholder(text_of(item.get("name")))}
        if item.get("name"):
            self.notes.append(f"The name {str(item['name'])[:60]} of a message was left out: messages here have none.")
        return read_message(item, (lambda text: text) if is_template else self.template)

    def _placeholder(self, name: str) -> str:
        if not NAMED.search(name):
            raise Problem(UNREADABLE, f"A placeholder has the name {name[:60]!r}; it needs a letter or digit.")
        return self._variables.name(name)

    def chat(self, messages: object, *, is_template: bool = False) -> None:
        if not isinstance(messages, list) or not messages:
            raise Problem(UNREADABLE, "The prompt has no messages.")
        self.content["kind"] = "chat"
        self.content["messages"] = join_calls([self.message(item, is_template=is_template) for item in messages])

    def settings(self, config: object, *, ignored: Sequence[str] = ()) -> None:
        """Read the model's settings, response format and tools; anything else becomes a note."""
        if not isinstance(config, Mapping):
            return
        model: dict[str, Any] = {}
        for name, value in config.items():
            if value is None or name in ignored:
                continue
            if name in ("model", "model_name") and isinstance(value, str):
                model["name"] = value
            elif name == "max_output_tokens":
                model["max_completion_tokens"] = value
            elif name == "reasoning" and isinstance(value, Mapping):
                model |= {"reasoning_effort": value["effort"]} if value.get("effort") else {}
            elif name == "text" and isinstance(value, Mapping):
                model |= {"verbosity": value["verbosity"]} if value.get("verbosity") else {}
                self._response(value.get("format"))
            elif name == "response_format":
                self._response(value)
            elif name == "tools" and isinstance(value, list):
                self._tools(value)
            elif name in KEPT_SETTINGS:
                model[name] = value
            else:
                self.notes.append(f"The setting {str(name)[:60]} was left out: Cuebook does not have it.")
        self.content |= {"model": model} if model else {}

    def _response(self, form: object) -> None:
        """Read a response format, as Chat Completions or Responses write it."""
        kind = form.get("type") if isinstance(form, Mapping) else None
        if not isinstance(form, Mapping) or kind == "text":
            return
        if kind == "json_object":
            self.content["response"] = {"format": "json_object"}
        elif kind == "json_schema":
            definition = form["json_schema"] if isinstance(form.get("json_schema"), Mapping) else form
            members = {
                name: definition[name] for name in ("schema", "name", "strict") if definition.get(name) is not None
            }
            self.content["response"] = {"format": "json_schema", **members}
        else:
            self.notes.append(f"The response format {str(kind)[:60]} was left out: Cuebook does not have it.")

    def _tools(self, tools: Sequence[object]) -> None:
        functions: list[Any] = []
        for tool in tools:
            kind = tool.get("type") if isinstance(tool, Mapping) else None
            if not isinstance(tool, Mapping) or kind != "function":
                self.notes.append(f"The tool {str(kind)[:60]} was left out: only functions are part of a prompt here.")
            elif isinstance(tool.get("function"), Mapping):
                functions.append(dict(tool))
            else:
                functions.append({"type": "function", "function": {key: tool[key] for key in tool if key != "type"}})
        self.content |= {"tools": functions} if functions else {}

    def finish(self, item: Item) -> SourceVersion:
        """Return the version, with notes of what was renamed or left out."""
        renamed = [f"{before} is named {after} here." for before, after in self._variables.renamed.items()]
        labels = [label for label in list_of(item.get("labels")) if isinstance(label, str) and label != "latest"]
        messages = (text_of(item.get(name)).strip() for name in ("commitMessage", "commit_message", "description"))
        message = next(filter(None, messages), "")
        number = number_of(item)
        return SourceVersion(
            "" if number is None else str(number),
            self.content,
            message[:MAX_MESSAGE] or (f"Version {number} of the source" if number else ""),
            labels,
            [*renamed, *self.notes],
        )


@dataclass(frozen=True)
class Importer:
    """One product's format. `lists` are the members that hold several prompts; `name` names an item, `read` reads one
    version into a draft; `has_includes` says that texts may include other prompts, `must_list` that a list is
    needed."""

    looks_like: str
    lists: Sequence[str]
    name: Callable[[Item, int], str]
    read: Callable[[Item, Draft], None]
    has_includes: bool = False
    must_list: bool = False


def name_of(item: Item, number: int) -> str:
    """Return an item's own name, or one by its number in the document."""
    return text_of(item.get("name")) or f"prompt-{number}"


def as_plain(value: Any) -> Any:
    """Return a plain JSON value; NUL characters, half characters or dates make it unreadable."""
    faults: list[Fault] = []
    read = normalise_json(value, faults)
    if faults:
        raise Problem(UNREADABLE, f"{faults[0].pointer or 'A prompt'}: {faults[0].message}", faults=faults)
    return read


def text_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def list_of(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def number_of(item: Item) -> int | None:
    """Return the number of a version, where it has one."""
    version = item.get("version") or (item.get("prompt") if isinstance(item.get("prompt"), Mapping) else None)
    version = version.get("version") if isinstance(version, Mapping) else version
    text = str(version)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
