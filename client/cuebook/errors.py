"""The errors of the client, as a tree:

    CuebookError
    ├── UnavailableError        no answer in time, or 429 or 5xx, and there is no copy
    ├── RefusedError            the registry refused; `code` says why, for example prompt.invalid_selector
    │   ├── NotFoundError       no such prompt, version or environment: a stale copy never hides this
    │   └── KeyRefusedError     the key is wrong, revoked, expired or may not read
    ├── IntegrityError          the content does not have its hash
    └── RenderError             a variable is missing or of the wrong type, or the template failed on it

`code` is the registry's stable code wherever there is one (docs/errors.md of the server lists them).
"""


class CuebookError(Exception):
    """The base of all errors. `code` is stable and meant for branching; the message is meant for readers."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> "tuple[type[CuebookError], tuple[str, str]]":
        # By message and code, so that a process pool can hand the error on.
        return type(self), (str(self), self.code)


class UnavailableError(CuebookError):
    """The registry is not available now. `retry_after` is the seconds of its Retry-After header, if any."""

    def __init__(self, message: str, code: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, code)
        self.retry_after = retry_after


class RefusedError(CuebookError):
    """The registry refused the request; asking again changes nothing."""


class NotFoundError(RefusedError):
    """There is no such prompt, version or environment, or nothing of the prompt is live there."""


class KeyRefusedError(RefusedError):
    """The registry no longer knows the key, or the key may not read."""


class IntegrityError(CuebookError):
    """Content that does not have its claimed hash. It is never stored or returned."""


class RenderError(CuebookError):
    """A prompt cannot be rendered with these variables; `code` is for example render.missing_variable."""
