"""A prompt's version: its content, and its rendering with variables."""

import copy
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from cuebook.answers import Document, well_formed
from cuebook.core.content import DEFAULTS
from cuebook.core.errors import Problem
from cuebook.core.example_selection import BY_SIMILARITY, Candidate, candidate_count, choose
from cuebook.core.examples import Shot
from cuebook.core.image_data import UPLOADED
from cuebook.core.messages import Message, address_of, images_of
from cuebook.core.model_settings import as_chat_completions
from cuebook.core.rendering import Rendering
from cuebook.errors import RefusedError, RenderError
from cuebook.hashing import content_hash

# A fallback for when no version can be had: a text, chat messages, or a whole content document.
Fallback = str | list[dict[str, str]] | dict[str, Any]


class Source(Protocol):
    """The client's methods that a prompt needs."""

    def examples(self, pinned: str) -> list[Shot]: ...

    def has_examples(self, pinned: str) -> bool: ...

    def render_there(self, name: str, selector: str, variables: Mapping[str, Any]) -> Document: ...


class Confirmation:
    """The time (`time.monotonic()`) of the registry's last confirmation; shared by all prompts that it confirmed."""

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        self.at = at


class Prompt:
    """One version of a prompt. It is immutable, and threads may share it.

    `name`, `number` and `hash` say which version it is (`number` is None for a fallback, whose hash is its own).
    `experiment` is what calls with it say to be a part of an experiment (`experiment` of `POST /api/v1/calls`); None
    where it was not had for a subject of one.
    """

    def __init__(
        self,
        document: Document,
        source: Source,
        confirmed: Confirmation | None,
        *,
        is_fallback: bool = False,
        experiment: Mapping[str, Any] | None = None,
    ) -> None:
        self.name: str = document["prompt"]
        self.number: int | None = document["number"]
        self.hash: str = document["hash"]
        self.is_fallback = is_fallback
        self.experiment = experiment
        self._document = document
        self._source = source
        self._confirmed = confirmed
        self._rendering: Rendering | None = None

    def __repr__(self) -> str:
        return f"<Prompt {self.name} {'fallback' if self.is_fallback else f'version {self.number}'} {self.hash[:19]}>"

    @classmethod
    def from_fallback(cls, name: str, fallback: Fallback, source: Source) -> "Prompt":
        """Build a prompt from the caller's fallback."""
        if isinstance(fallback, str):
            content: Document = {"kind": "text", "text": fallback}
        elif isinstance(fallback, list):
            content = {"kind": "chat", "messages": fallback}
        else:
            content = {"kind": "text" if "text" in fallback else "chat", **fallback}
        document = {"prompt": name, "number": None, "content": content, "partials": {}}
        return cls({**document, "hash": content_hash(content)}, source, None, is_fallback=True)

    @property
    def content(self) -> Document:
        """The content document, a copy: messages as templates, model, variables, tools (docs/hash.md)."""
        return copy.deepcopy(self._document["content"])

    @property
    def age(self) -> float:
        """Seconds since the registry last confirmed that this is the version to use: 0 for a number or a hash, which
        never change, and infinite for a fallback."""
        if self._confirmed is None:
            return math.inf if self.is_fallback else 0.0
        return max(0.0, time.monotonic() - self._confirmed.at)

    @property
    def may_change(self) -> bool:
        """True if its reference may select another version later."""
        return self._confirmed is not None

    def confirm(self, confirmed: Confirmation | None) -> None:
        """Record that the registry confirmed this version."""
        self._confirmed = confirmed

    def age_by(self, seconds: float) -> None:
        """Move the confirmation into the past by so many seconds."""
        if self._confirmed is not None:
            self._confirmed.at -= seconds

    @property
    def example_set(self) -> str | None:
        """The hash of the example set that rendering here needs; None where it needs none."""
        selection = self._document["content"].get("examples")
        return None if selection is None or self.is_rendered_there else str(selection["set"])

    @property
    def is_rendered_there(self) -> bool:
        """True if rendering asks the registry: examples by similarity need its embeddings, a token budget its
        tokenisers, retrieval its collections."""
        if "retrieval" in self._document["content"]:
            return True
        selection = self._document["content"].get("examples") or {}
        return selection.get("select", DEFAULTS["examples"]["select"]) in BY_SIMILARITY or "token_budget" in selection

    @property
    def renders_at_once(self) -> bool:
        """True if `render` does no I/O."""
        if self.example_set is None:
            return self.is_fallback or not self.is_rendered_there
        return self._rendering is not None or self._source.has_examples(self.example_set)

    def render(self, /, **variables: Any) -> dict[str, Any]:
        """Arguments for `openai.OpenAI().chat.completions.create(**arguments)`: `model`, `messages`, the version's
        settings, and `response_format` and `tools` where it has them.

        JSON values are rendered byte for byte as the registry does.

        Raises:
            CuebookError
            ├── RenderError         a variable is missing or of the wrong type, or the template fails on it
            └── UnavailableError    the registry renders this one (`is_rendered_there`) and does not answer
        """
        try:
            with well_formed(f"The content of {self.name}"):
                request = self._request(variables)
                _refuse_uploaded(request["messages"])
                return arguments(request)
        except Problem as problem:
            raise RenderError(problem.detail, problem.code) from None
        except RefusedError as refused:
            if refused.code.startswith(("render.", "template.")):
                raise RenderError(str(refused), refused.code) from None
            raise

    def _request(self, variables: Mapping[str, Any]) -> Document:
        if self.is_rendered_there and not self.is_fallback:
            return self._source.render_there(self.name, self.hash, variables)
        if self._rendering is None:
            partials = {pinned: partial["content"] for pinned, partial in self._document["partials"].items()}
            self._rendering = Rendering(self._document["content"], partials, self._shots())
        return self._rendering.request(variables)

    def _shots(self) -> list[Shot]:
        if self.example_set is None:
            return []
        selection = self._document["content"]["examples"]
        first = self._source.examples(self.example_set)[: candidate_count(selection)]
        return choose(selection, [Candidate(place, shot, 0) for place, shot in enumerate(first, start=1)]).shots


def _refuse_uploaded(messages: Sequence[Message]) -> None:
    """Refuse images that only the registry has: a provider would not know what their addresses are."""
    for message in messages:
        for image in images_of(message):
            address = address_of(image)
            if UPLOADED.fullmatch(address):
                sentence = f"{address} is in the registry only: let it render (POST …/render), or send the image."
                raise Problem("render.invalid_message", sentence)


def arguments(rendered: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rendered version as the OpenAI protocol's arguments; defaults are left out, for servers that support
    less."""
    settings = copy.deepcopy(as_chat_completions(rendered["model"]))
    result: dict[str, Any] = {"messages": rendered["messages"], **settings}
    name = result.pop("name", None)
    if name is not None:
        result["model"] = name
    if rendered["response_format"]["type"] != "text":
        result["response_format"] = copy.deepcopy(rendered["response_format"])
    if rendered.get("tools"):
        result["tools"] = copy.deepcopy(rendered["tools"])
    return result
