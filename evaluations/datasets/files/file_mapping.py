"""What became of a file's own names: read as variables, as the expected output, as settings, or left out. Pure.

Nothing of a row is dropped or read as something else without saying so: whoever imports a file sees this beside the
counts.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# A file whose rows have ever other names is no table; beyond its first names, all count under one.
MAX_NAMES = 200
OTHER_NAMES = "(other names)"


@dataclass
class FileMapping:
    """For each use, the file's names and in how many rows they stood."""

    variables: Counter[str] = field(default_factory=Counter)
    expected: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    tags: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    # The names of a table's columns, in their order.
    header: list[str] = field(default_factory=list)
    # Columns that a user says something of, and those of them that were there.
    mapped: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)

    def add(
        self,
        variables: Iterable[str] = (),
        expected: Iterable[str] = (),
        left_out: Iterable[str] = (),
        tags: Iterable[str] = (),
        labels: Iterable[str] = (),
    ) -> None:
        """Count one row."""
        counters = (self.variables, variables), (self.expected, expected), (self.left_out, left_out)
        for counter, names in (*counters, (self.tags, tags), (self.labels, labels)):
            for name in names:
                counter[name if name in counter or len(counter) < MAX_NAMES else OTHER_NAMES] += 1

    def as_dict(self) -> dict[str, Mapping[str, int]]:
        uses = {"variables": self.variables, "expected": self.expected, "label": self.labels, "tags": self.tags}
        uses["left_out"] = self.left_out
        counts = {use: dict(counter.most_common()) for use, counter in uses.items() if counter}
        return {**counts, **({"not_found": dict.fromkeys(self.missing, 0)} if self.missing else {})}

    @property
    def missing(self) -> list[str]:
        """Return the columns of which a user says something, and which the rows so far do not have."""
        return sorted(self.mapped - self.seen - set(self.header))

    def sentences(self) -> list[str]:
        """Say it in words, for the command line."""
        words = {
            **{"variables": "variables", "expected": "expected output", "label": "label", "tags": "tags"},
            "left_out": "left out",
            "not_found": "columns that the file does not have",
        }
        return [
            f"{words[use]}: {', '.join(f'{name} ({rows:,} rows)' for name, rows in counts.items())}"
            for use, counts in self.as_dict().items()
        ]
