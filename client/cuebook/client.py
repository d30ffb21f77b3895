"""The client: prompts from memory, kept fresh in the background."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from cuebook.core.errors import Problem
from cuebook.core.references import is_environment_name, parse_reference
from cuebook.disk import DiskCopy, default_directory
from cuebook.errors import CuebookError, RefusedError
from cuebook.keeper import Keeper
from cuebook.prompt import Fallback, Prompt
from cuebook.remote import MOST_IN_A_BATCH, Remote

log = logging.getLogger("cuebook")

OnError = Callable[[Exception], None]
# Stands for the user's cache directory: `None` already says that nothing is written.
USER_CACHE = Path("~")


class Cuebook:
    """Prompts of one environment, for as long as the service runs. Make one and keep it; threads may share it.

        cuebook = Cuebook("https://cuebook.example.com", os.environ["CUEBOOK_KEY"])
        openai.chat.completions.create(**cuebook.render("support.triage", ticket=text))

    `get` looks in memory and does no I/O once the environment is loaded, which its first call does. A thread asks every
    `refresh_seconds` (with jitter) what has changed, and backs off where the registry fails; meanwhile what is there
    goes on being used, and `Prompt.age` says since when it was not confirmed. A process that starts while the registry
    cannot be reached takes the copy that it last wrote to `cache_dir` (None: no copy), and where there is none either,
    the caller's fallback.

    `timeout` is for one question to the registry as a whole, in seconds. `on_error` is called with every failure that
    is not raised, from any thread; without it they are logged as warnings of the logger `cuebook`.
    """

    def __init__(
        self,
        url: str,
        key: str,
        environment: str = "production",
        *,
        refresh_seconds: float = 30.0,
        timeout: float = 5.0,
        cache_dir: str | os.PathLike[str] | None = USER_CACHE,
        on_error: OnError | None = None,
    ) -> None:
        if not url.startswith(("https://", "http://")):
            raise ValueError("url is the registry's address and begins with https:// or http://.")
        if not (key.isascii() and key.isprintable() and key.strip() == key and key):
            raise ValueError("key is an API key as the registry showed it: cbk_<id>_<secret>.")
        if not is_environment_name(environment):
            raise ValueError(f"{environment!r} cannot be an environment's name.")
        self.environment = environment
        self._on_error = on_error
        disk = _disk_copy(cache_dir, url, key, environment)
        remote = Remote(url, key, timeout)
        self._keeper = Keeper(environment, remote, disk, max(1.0, refresh_seconds), self._report)

    def __enter__(self) -> "Cuebook":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, reference: str, *, fallback: Fallback | None = None) -> Prompt:
        """A prompt's version: what is live in this client's environment, or `name@3`, `name@staging`, `name@latest`,
        `name@sha256:...`.

        `fallback` (a text, chat messages or a content document) is given where nothing can be had, for whatever
        reason, and `Prompt.is_fallback` says so.

        Raises (without a fallback):
            CuebookError
            ├── UnavailableError        the registry does not answer, and there is no copy
            ├── RefusedError            the reference cannot be one
            │   ├── NotFoundError       no such prompt or version, or nothing of it is live there
            │   └── KeyRefusedError     the key is not known any more, or may not read
            └── IntegrityError          what came is not what its hash says
        """
        prompt = self._keeper.memory.ready.get(reference)
        if prompt is not None and self._keeper.is_running:
            return prompt
        try:
            return self._get_slowly(reference)
        except CuebookError as error:
            if fallback is None:
                raise
            self._report(error)
            return Prompt.from_fallback(reference.partition("@")[0], fallback, self._keeper)

    def held(self, reference: str) -> Prompt | None:
        """What `get` would give at once, None where it would have to ask."""
        return self._keeper.memory.ready.get(reference) if self._keeper.is_running else None

    def render(self, reference: str, /, **variables: Any) -> dict[str, Any]:
        """`get` and `Prompt.render` in one. Raises what they raise."""
        return self.get(reference).render(**variables)

    @overload
    def batch(self, references: Sequence[str], *, return_exceptions: Literal[False] = False) -> list[Prompt]: ...

    @overload
    def batch(self, references: Sequence[str], *, return_exceptions: bool) -> list[Prompt | CuebookError]: ...

    def batch(
        self, references: Sequence[str], *, return_exceptions: bool = False
    ) -> list[Prompt] | list[Prompt | CuebookError]:
        """Many references at once: from memory, and the others in one question for every hundred.

        Raises the first one's error, or has it in its place with `return_exceptions`, as `asyncio.gather` does.
        """
        self._keeper.run()
        found: dict[str, Prompt | CuebookError] = {}
        missing: dict[str, str] = {}
        for reference in dict.fromkeys(references):
            held = self._keeper.memory.ready.get(reference)
            whole = self._whole_or_error(reference) if held is None else ""
            if held is not None:
                found[reference] = held
            elif isinstance(whole, str):
                missing[reference] = whole
            else:
                found[reference] = whole
        asked = list(missing)
        for start in range(0, len(asked), MOST_IN_A_BATCH):
            chunk = asked[start : start + MOST_IN_A_BATCH]
            found |= self._keeper.ask_for_many({reference: missing[reference] for reference in chunk})
        answers = [found[reference] for reference in references]
        if not return_exceptions:
            for answer in answers:
                if isinstance(answer, CuebookError):
                    raise answer
        return answers

    def refresh(self) -> None:
        """Ask the registry now what has changed; the thread does it by itself. Raises CuebookError."""
        self._keeper.refresh()

    def close(self) -> None:
        """End the thread and the connections; from then on `get` finds nothing (UnavailableError)."""
        self._keeper.close()

    def _get_slowly(self, reference: str) -> Prompt:
        whole = self._whole(reference)
        self._keeper.run()
        held = self._keeper.memory.ready.get(reference)
        return held if held is not None else self._keeper.ask_for(reference, whole)

    def _whole(self, reference: str) -> str:
        """The reference with its selector: a bare name is what is live in this client's environment."""
        try:
            parse_reference(reference)
        except Problem as problem:
            raise RefusedError(problem.detail, problem.code) from None
        return reference if "@" in reference else f"{reference}@{self.environment}"

    def _whole_or_error(self, reference: str) -> str | RefusedError:
        try:
            return self._whole(reference)
        except RefusedError as error:
            return error

    def _report(self, error: Exception) -> None:
        if self._on_error is None:
            log.warning("%s: %s", type(error).__name__, error)
            return
        try:
            self._on_error(error)
        except Exception:
            # A handler's own fault must not end the thread, or take the fallback from who asked for it.
            log.exception("on_error failed")


def _disk_copy(directory: str | os.PathLike[str] | None, url: str, key: str, environment: str) -> DiskCopy | None:
    if directory is None:
        return None
    if directory is USER_CACHE:
        try:
            directory = default_directory()
        except RuntimeError:
            # A user without a home has nowhere to keep a copy.
            return None
    return DiskCopy(directory, url, key, environment)
