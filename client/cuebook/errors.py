"""What can go wrong, as a tree:

    CuebookError
    ├── UnavailableError        nobody answered in time, or with 429 or 5xx, and there is no copy
    ├── RefusedError            the registry refused; `code` says why, for example prompt.invalid_selector
    │   ├── NotFoundError       no such prompt, version or environment: a stale copy never hides this
    │   └── KeyRefusedError     the key is wrong, revoked, expired or may not read
    ├── IntegrityError          what arrived is not what its hash says
    └── RenderError             a variable is missing or of the wrong type, or the template failed on it

`code` is the registry's stable code wherever there is one (docs/errors.md of the server lists them).
"""


class CuebookError(Exception):
    """The base of all of them. `code` is stable and made for branching; the message is made for people."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> "tuple[type[CuebookError], tuple[str, str]]":
        # By message and code, so that a process pool can hand the error on.
        return type(self), (str(self), self.code)


class UnavailableError(CuebookError):
    """The registry cannot be had now. `retry_after` is how many seconds it asked to be left alone, where it did."""

    def __init__(self, message: str, code: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, code)
        self.retry_after = retry_after


class RefusedError(CuebookError):
    """The registry understood and said no; asking again changes nothing."""


class NotFoundError(RefusedError):
    """There is no such prompt, version or environment, or nothing of the prompt is live there."""


class KeyRefusedError(RefusedError):
    """The registry does not know the key any more, or the key may not read."""


class IntegrityError(CuebookError):
    """Content that does not have the hash that it came under. It is never kept or returned."""


class RenderError(CuebookError):
    """A prompt cannot be rendered with these variables; `code` is for example render.missing_variable."""
