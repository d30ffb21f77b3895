"""Examples as tokens: by the llama.cpp that will serve the result, so that training and serving cannot differ."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluations.local.trainer.network import Text

TIMEOUT_SECONDS = 120
# An answer that no template has in itself.
ANSWER = "Cuebook asks where an answer ends"


class UnusableFileError(Exception):
    """A training file cannot be used, and why."""


class ServerAwayError(Exception):
    """The server that turns texts into tokens does not answer: it is being started again."""


@dataclass(frozen=True)
class Tokeniser:
    """A llama.cpp server that turns texts into tokens."""

    url: str
    key: str

    def end_of_answer(self) -> list[int]:
        """Return the token that ends an answer: with which the template goes on after it, else the file's own."""
        chat = [("user", "a"), ("assistant", ANSWER), ("user", "b")]
        _, is_there, after = self._template(
            {"messages": [{"role": role, "content": text} for role, text in chat]}
        ).partition(ANSWER)
        if is_there and after and not after[0].isspace():
            return self.tokens(after)[:1]
        return self.tokens(str(self._ask("/props")["eos_token"]))

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text that goes on another one."""
        return self._tokens(text, begins=False)

    def prompt(self, body: Mapping[str, Any]) -> list[int]:
        """Return the tokens that the model gets for a chat request, as the server makes them of it: by its template,
        with the token that begins a text where the model has one."""
        return self._tokens(self._template(body), begins=True)

    def _template(self, body: Mapping[str, Any]) -> str:
        return str(self._ask("/apply-template", body)["prompt"])

    def _tokens(self, text: str, *, begins: bool) -> list[int]:
        document = {"content": text, "add_special": begins, "parse_special": True}
        return list(self._ask("/tokenize", document)["tokens"])

    def _ask(self, path: str, document: Mapping[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        data = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self.url + path, data, headers)  # noqa: S310 - our own server
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise UnusableFileError(f"The server refused a text: {error.read(500).decode(errors='replace')}") from None
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            raise ServerAwayError(str(error)) from None


def read_texts(path: Path, tokeniser: Tokeniser, max_tokens: int) -> list[Text]:
    """Read a training file. UnusableFileError names the line that cannot be used; none is left out in silence."""
    end = tokeniser.end_of_answer()
    texts = []
    for number, example in _examples(path):
        *before, answer = example["messages"]
        if not isinstance(answer.get("content"), str) or answer.get("tool_calls"):
            raise UnusableFileError(f"Line {number}: only answers in text can be learned here, and no tool calls.")
        try:
            prompt = tokeniser.prompt({**example, "messages": before})
            tokens = [*prompt, *tokeniser.tokens(answer["content"]), *end]
        except UnusableFileError as error:
            raise UnusableFileError(f"Line {number}: {error}") from None
        if len(tokens) > max_tokens:
            raise UnusableFileError(f"Line {number} has {len(tokens):,} tokens; at most {max_tokens:,} are learned.")
        texts.append(Text(tuple(tokens), len(prompt)))
    return texts


def _examples(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                example = json.loads(line.decode("utf-8"))
                last = example["messages"][-1]
            except (ValueError, KeyError, TypeError, IndexError, RecursionError):
                raise UnusableFileError(f"Line {number} is no JSON object with messages.") from None
            if not isinstance(last, dict) or last.get("role") != "assistant" or len(example["messages"]) < 2:
                raise UnusableFileError(f"Line {number} does not end with the assistant's answer to something.")
            yield number, {name: example[name] for name in ("messages", "tools") if name in example}
