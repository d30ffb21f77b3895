"""Prompts from a Cuebook registry: fetched once, kept fresh, rendered here."""

from cuebook.asynchronous import AsyncCuebook
from cuebook.client import Cuebook
from cuebook.errors import (
    CuebookError,
    IntegrityError,
    KeyRefusedError,
    NotFoundError,
    RefusedError,
    RenderError,
    UnavailableError,
)
from cuebook.prompt import Prompt

__all__ = [
    "AsyncCuebook",
    "Cuebook",
    "CuebookError",
    "IntegrityError",
    "KeyRefusedError",
    "NotFoundError",
    "Prompt",
    "RefusedError",
    "RenderError",
    "UnavailableError",
]
