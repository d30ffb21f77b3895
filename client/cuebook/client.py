"""The client: prompts from memory, kept fresh in the background."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from cuebook.core.errors import Problem
from cuebook.core.references import is_environment_name, parse_reference
from cuebook.disk import DiskCopy, default_directory
from cuebook.errors import CuebookError, RefusedError
from cuebook.keeper import Keeper
from cuebook.prompt import Fallback, Prompt
from cuebook.remote import MAX_BATCH, Remote

log = logging.getLogger("cuebook")

OnError = Callable[[Exception], None]
# Stands for the user's cache directory, because `None` means that nothing is written.
USER_CACHE = Path("~")


class Cuebook:
    """Prompts of one environment, for as long as the service runs. Create one client and keep it; threads may share it.

        cuebook = Cuebook("https://cuebook.example.com", os.environ["CUEBOOK_KEY"])
        openai.chat.completions.create(**cuebook.render("support.triage", ticket=text))

    `get` looks in memory and does no I/O once the environment is loaded, which its first call does. A thread asks every
    `refresh_seconds` (with jitter) for changes, and backs off where the registry fails; meanwhile the prompts in memory
    stay in use, and `Prompt.age` says how long ago they were confirmed. A process that starts while the registry cannot
    be reached uses the copy that it last wrote to `cache_dir` (None: no copy), and without one the caller's fallback.

    `timeout` is for one request to the registry as a whole, in seconds. `on_error` is called with every failure that
    is not raised, from any thread; without it they are logged as warnings of the logger `cuebook`. It may use the
    client: what fails meanwhile is logged, and does not call it again.
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
        self._handling = threading.local()
        disk = _disk_copy(cache_dir, url, key, environment)
        remote = Remote(url, key, timeout)
        self._keeper = Keeper(environment, remote, disk, max(1.0, refresh_seconds), self._report)

    def __enter__(self) -> "Cuebook":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, reference: str, *, subject: str = "", fallback: Fallback | None = None) -> Prompt:
        """Return a prompt's version: the one that is live in this client's environment, or `name@3`, `name@staging`,
        `name@latest`, `name@sha256:...`.

        `subject` is whom it is for: where an experiment runs in this client's environment, the version of their arm is
        returned, the same each time, and `Prompt.experiment` is to be sent with the call.

        `fallback` (a text, chat messages or a content document) is returned where no version can be had, for whatever
        reason, and `Prompt.is_fallback` says so.

        Raises (without a fallback):
            CuebookError
            ├── UnavailableError        the registry does not answer, and there is no copy
            ├── RefusedError            the reference is not valid
            │   ├── NotFoundError       no such prompt or version, or nothing of it is live there
            │   └── KeyRefusedError     the key is revoked, or may not read
            └── IntegrityError          the content does not have its hash
        """
        if not isinstance(subject, str):
            # Refused always, and not only once an experiment runs.
            raise TypeError(f"subject is a text, not a {type(subject).__name__}: str(...) makes one of an id.")
        prompt = self._keeper.memory.ready.get(reference)
        if prompt is not None and self._keeper.is_running:
            return self._assigned(reference, subject) or prompt
        try:
            prompt = self._get_uncached(reference)
            return self._assigned(reference, subject) or prompt
        except CuebookError as error:
            if fallback is None:
                raise
            self._report(error)
            return Prompt.from_fallback(reference.partition("@")[0], fallback, self._keeper)

    def _assigned(self, reference: str, subject: str) -> Prompt | None:
        """Return the version of a subject's arm where an experiment runs in this client's environment."""
        name, _, selector = reference.partition("@")
        is_here = selector in ("", self.environment)
        return self._keeper.memory.assigned(name, subject) if subject and is_here else None

    def cached(self, reference: str, *, subject: str = "") -> Prompt | None:
        """Return the prompt if it is in memory, None where `get` would have to ask the registry."""
        prompt = self._keeper.memory.ready.get(reference) if self._keeper.is_running else None
        return prompt and (self._assigned(reference, subject) or prompt)

    def render(self, reference: str, /, **variables: Any) -> dict[str, Any]:
        """Get a prompt and render it. Raises the errors of `get` and `Prompt.render`."""
        return self.get(reference).render(**variables)

    @overload
    def batch(self, references: Sequence[str], *, return_exceptions: Literal[False] = False) -> list[Prompt]: ...

    @overload
    def batch(self, references: Sequence[str], *, return_exceptions: bool) -> list[Prompt | CuebookError]: ...

    def batch(
        self, references: Sequence[str], *, return_exceptions: bool = False
    ) -> list[Prompt] | list[Prompt | CuebookError]:
        """Return many prompts at once: from memory, and the others in one request for every hundred.

        Raises the first error, or returns errors in place of prompts with `return_exceptions`, as `asyncio.gather`
        does.
        """
        self._keeper.run()
        results: dict[str, Prompt | CuebookError] = {}
        missing: dict[str, str] = {}
        for reference in dict.fromkeys(references):
            prompt = self._keeper.memory.ready.get(reference)
            full_reference = self._full_reference_or_error(reference) if prompt is None else ""
            if prompt is not None:
                results[reference] = prompt
            elif isinstance(full_reference, str):
                missing[reference] = full_reference
            else:
                results[reference] = full_reference
        missing_references = list(missing)
        for start in range(0, len(missing_references), MAX_BATCH):
            chunk = missing_references[start : start + MAX_BATCH]
            results |= self._keeper.ask_for_many({reference: missing[reference] for reference in chunk})
        answers = [results[reference] for reference in references]
        if not return_exceptions:
            for answer in answers:
                if isinstance(answer, CuebookError):
                    raise answer
        return answers

    def refresh(self) -> None:
        """Ask the registry for changes now; the thread does so regularly. Raises CuebookError."""
        self._keeper.refresh()

    def close(self) -> None:
        """End the thread and the connections; from then on `get` raises UnavailableError."""
        self._keeper.close()

    def _get_uncached(self, reference: str) -> Prompt:
        full_reference = self._full_reference(reference)
        self._keeper.run()
        prompt = self._keeper.memory.ready.get(reference)
        return prompt if prompt is not None else self._keeper.ask_for(reference, full_reference)

    def _full_reference(self, reference: str) -> str:
        """Return the reference with its selector: a bare name means what is live in this client's environment."""
        try:
            parse_reference(reference)
        except Problem as problem:
            raise RefusedError(problem.detail, problem.code) from None
        return reference if "@" in reference else f"{reference}@{self.environment}"

    def _full_reference_or_error(self, reference: str) -> str | RefusedError:
        try:
            return self._full_reference(reference)
        except RefusedError as error:
            return error

    def _report(self, error: Exception) -> None:
        # A handler that uses the client where the registry is down meets the failure that it was called with.
        if self._on_error is None or getattr(self._handling, "is_here", False):
            log.warning("%s: %s", type(error).__name__, error)
            return
        self._handling.is_here = True
        try:
            self._on_error(error)
        except Exception:
            # An error in the handler must not end the thread, or cost the caller the fallback.
            log.exception("on_error failed")
        finally:
            self._handling.is_here = False


def _disk_copy(directory: str | os.PathLike[str] | None, url: str, key: str, environment: str) -> DiskCopy | None:
    if directory is None:
        return None
    if directory is USER_CACHE:
        try:
            directory = default_directory()
        except RuntimeError:
            # A user without a home directory has no place for a copy.
            return None
    return DiskCopy(directory, url, key, environment)
