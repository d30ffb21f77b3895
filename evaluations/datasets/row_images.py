"""Images in rows that are read: data becomes an uploaded image, and an address has to be one of the project's."""

from collections import Counter
from typing import Any

from core.errors import Fault
from evaluations.datasets.image_values import with_addresses
from evaluations.datasets.row import Row
from registry.accounts.permissions import Actor
from registry.images import lookup, uploads

# Images and rows that wait in memory until they are stored and checked.
MAX_WAITING_BYTES = 32 * 1024 * 1024
MAX_IMAGES_A_CASE = 100

Unfit = tuple[int, Row, Fault]


class RowImages:
    """The images of rows that are copied into a dataset. `read` and `accept` only collect: during a COPY no statement
    runs."""

    def __init__(self, actor: Actor) -> None:
        self.has_any = False
        self._actor = actor
        self._row: dict[str, bytes] = {}
        self._waiting: dict[str, bytes] = {}
        self._noted: list[tuple[int, Row, list[str]]] = []
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        return self._bytes > MAX_WAITING_BYTES

    def read(self, document: Any, faults: list[Fault]) -> Any:
        """Return a case's document with the addresses of images that are data in its variables; data that is no image
        which can be uploaded is a fault."""
        self._row = {}
        return with_addresses(document, self._row, faults)

    def accept(self, number: int, row: Row, document: Any, variables: str) -> None:
        """Keep the images of the row that was read last, which is a case: with `variables` as JSON."""
        addresses = lookup.addresses_in_json(variables)
        if not addresses:
            return
        self.has_any = True
        for sha256, data in self._row.items():
            if sha256 not in self._waiting:
                self._waiting[sha256] = data
                self._bytes += len(data)
        # Without the data: of a row that is refused later, this is what is shown.
        self._noted.append((number, Row(row.line, document), addresses))
        self._bytes += len(variables)

    def settle(self) -> list[Unfit]:
        """Store what waits; return the rows so far that name images which are not there, or too many, with their
        fault."""
        uploads.upload_all(self._actor, list(self._waiting.values()))
        noted, self._noted, self._waiting, self._bytes = self._noted, [], {}, 0
        every = {address for _, _, addresses in noted for address in addresses}
        sizes = lookup.sizes_of(self._actor.project.pk, every) if every else {}
        faults = ((number, row, _fault(addresses, sizes)) for number, row, addresses in noted)
        return [(number, row, fault) for number, row, fault in faults if fault]


def _fault(addresses: list[str], sizes: dict[str, int]) -> Fault | None:
    counts = Counter(addresses)
    if missing := counts.keys() - sizes.keys():
        return Fault("/variables", "image", f"This project has no image {min(missing)}. Upload it first.")
    if counts.total() > MAX_IMAGES_A_CASE:
        return Fault("/variables", "image", f"A case has at most {MAX_IMAGES_A_CASE} images.")
    if sum(sizes[address] * count for address, count in counts.items()) > lookup.MAX_SENT_BYTES:
        return Fault("/variables", "image", f"Its images have more than {lookup.MAX_SENT_BYTES // 2**20} MB together.")
    return None
