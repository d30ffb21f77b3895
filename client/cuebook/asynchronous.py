"""The client for asyncio."""

import asyncio
import os
from collections.abc import Sequence
from typing import Any, Literal, overload

from cuebook.client import USER_CACHE, Cuebook, OnError
from cuebook.errors import CuebookError
from cuebook.prompt import Fallback, Prompt


class AsyncCuebook:
    """Cuebook for an event loop: prompts in memory are returned at once; others are fetched in a thread of the loop's
    pool, so that the loop never waits for the network or the disk."""

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
        self._client = Cuebook(
            url,
            key,
            environment,
            refresh_seconds=refresh_seconds,
            timeout=timeout,
            cache_dir=cache_dir,
            on_error=on_error,
        )

    async def __aenter__(self) -> "AsyncCuebook":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get(self, reference: str, *, subject: str = "", fallback: Fallback | None = None) -> Prompt:
        """Return a prompt, like `Cuebook.get`. Raises the same errors."""
        cached = self._client.cached(reference, subject=subject)
        if cached is not None:
            return cached
        return await asyncio.to_thread(self._client.get, reference, subject=subject, fallback=fallback)

    async def render(self, reference: str, /, **variables: Any) -> dict[str, Any]:
        """Render a prompt, like `Cuebook.render`. Raises the same errors."""
        prompt = await self.get(reference)
        if prompt.renders_at_once:
            return prompt.render(**variables)
        return await asyncio.to_thread(prompt.render, **variables)

    @overload
    async def batch(self, references: Sequence[str], *, return_exceptions: Literal[False] = False) -> list[Prompt]: ...

    @overload
    async def batch(self, references: Sequence[str], *, return_exceptions: bool) -> list[Prompt | CuebookError]: ...

    async def batch(
        self, references: Sequence[str], *, return_exceptions: bool = False
    ) -> list[Prompt] | list[Prompt | CuebookError]:
        """Return many prompts, like `Cuebook.batch`. Raises the same errors."""
        return await asyncio.to_thread(self._client.batch, references, return_exceptions=return_exceptions)

    async def refresh(self) -> None:
        """Refresh now, like `Cuebook.refresh`. Raises the same errors."""
        await asyncio.to_thread(self._client.refresh)

    async def close(self) -> None:
        """Close the client, like `Cuebook.close`."""
        await asyncio.to_thread(self._client.close)
