"""Losses and accuracies of a training run, from wherever a provider tells them. Pure.

The CSV of results is read by its header: providers differ in which columns they have, and leave out values at steps
where nothing was validated. Some wrap the file in base64.
"""

import base64
import binascii
import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

# Our name of each measure, and what providers call it; the first that is there counts.
NAMES: Mapping[str, tuple[str, ...]] = {
    "train_loss": ("train_loss", "training_loss"),
    "train_accuracy": ("train_accuracy", "train_mean_token_accuracy", "training_token_accuracy"),
    "valid_loss": ("full_valid_loss", "valid_loss", "validation_loss"),
    "valid_accuracy": (
        *("full_valid_mean_token_accuracy", "valid_mean_token_accuracy", "valid_accuracy", "validation_token_accuracy"),
    ),
}
LAST_STEP = 2**31 - 1
LARGEST = 1e9
MOST_ROWS, MOST_POINTS = 200_000, 5_000


@dataclass(frozen=True)
class Point:
    """The measures of one step; those that the provider did not give are missing."""

    step: int
    values: Mapping[str, float]


def point(step: object, measures: Mapping[str, Any]) -> Point | None:
    """A step as an event or a checkpoint tells it; None where there is nothing in it."""
    number = _number(step)
    if number is None or not 0 <= number <= LAST_STEP:
        return None
    values = {}
    for name, called in NAMES.items():
        found = next((value for one in called if (value := _number(measures.get(one))) is not None), None)
        if found is not None:
            values[name] = found
    return Point(int(number), values) if values else None


def read_csv(data: bytes) -> list[Point]:
    """The points of a results file, thinned where there are very many. ValueError where it is no CSV that has a column
    `step`."""
    text = _unwrapped(data).decode("utf-8-sig", errors="replace")
    rows = csv.DictReader(io.StringIO(text))
    try:
        header = [name.strip() for name in rows.fieldnames or ()]
        if "step" not in header:
            raise ValueError("The file of results has no column step.")
        rows.fieldnames = header
        points = [found for row in islice(rows, MOST_ROWS) if (found := point(row.get("step"), row))]
    except csv.Error as error:
        raise ValueError(f"The file of results is no CSV: {error}") from None
    return thinned(points, MOST_POINTS)


def merged(points: Iterable[Point]) -> list[Point]:
    """One point a step, in order; what comes later adds to what was there."""
    found: dict[int, dict[str, float]] = {}
    for one in points:
        found.setdefault(one.step, {}).update(one.values)
    return [Point(step, found[step]) for step in sorted(found)]


def thinned(points: list[Point], most: int) -> list[Point]:
    """At most so many points, evenly, the last among them: as much as a picture can show."""
    if len(points) <= most:
        return points
    every = math.ceil(len(points) / (most - 1))
    return [*points[::every], *([] if (len(points) - 1) % every == 0 else [points[-1]])]


def _number(value: object) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        found = float(str(value).strip())
    except ValueError:
        return None
    # A loss beyond that is none, and no picture has room for it.
    return found if math.isfinite(found) and abs(found) <= LARGEST else None


def _unwrapped(data: bytes) -> bytes:
    if b"," in data[:1_000]:
        return data
    try:
        return base64.b64decode(b"".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return data
