"""Images in rows that are read: data becomes an uploaded image, and an address has to be one of the project's."""

from typing import Any

from core.errors import Fault
from evaluations.datasets.image_values import with_addresses
from evaluations.datasets.row import Row
from registry.accounts.permissions import Actor
from registry.images import lookup, uploads

# Images that wait in memory until they are stored.
MAX_WAITING_BYTES = 32 * 1024 * 1024

Unknown = tuple[int, Row, Fault]


class RowImages:
    """The images of rows that are copied into a dataset. `take` and `note` only collect: during a COPY no statement
    runs."""

    def __init__(self, actor: Actor) -> None:
        self.has_any = False
        self._actor = actor
        self._waiting: dict[str, bytes] = {}
        self._noted: list[tuple[int, Row, set[str]]] = []

    @property
    def is_full(self) -> bool:
        return sum(map(len, self._waiting.values())) > MAX_WAITING_BYTES if self._waiting else False

    def take(self, document: Any) -> Any:
        """Return a case's document with the addresses of images that are data in its variables. What is no image that
        can be uploaded stays as it is."""
        return with_addresses(document, self._waiting)

    def note(self, number: int, row: Row, variables: str) -> None:
        """Note the uploaded images that a row's variables, as JSON, name."""
        if addresses := lookup.addresses_in(variables):
            self.has_any = True
            self._noted.append((number, row, addresses))

    def settle(self) -> list[Unknown]:
        """Store what waits; return the rows so far that name an image which is not there, with their fault."""
        for data in self._waiting.values():
            uploads.upload(self._actor, data)
        self._waiting.clear()
        noted, self._noted = self._noted, []
        unknown = lookup.unknown_addresses(self._actor.project.pk, set[str]().union(*(row[2] for row in noted)))
        return [
            (number, row, Fault("/variables", "image", f"This project has no image {min(missing)}. Upload it first."))
            for number, row, addresses in noted
            if (missing := addresses & unknown)
        ]
