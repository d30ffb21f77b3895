"""Curves of losses and accuracies of a training run, from events, checkpoints and result files. Pure.

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

# Our name of each measure, and the providers' names for it; the first that is present counts.
MEASURE_NAMES: Mapping[str, tuple[str, ...]] = {
    "train_loss": ("train_loss", "training_loss"),
    "train_accuracy": ("train_accuracy", "train_mean_token_accuracy", "training_token_accuracy"),
    "valid_loss": ("full_valid_loss", "valid_loss", "validation_loss"),
    "valid_accuracy": (
        *("full_valid_mean_token_accuracy", "valid_mean_token_accuracy", "valid_accuracy", "validation_token_accuracy"),
    ),
}
MAX_STEP = 2**31 - 1
MAX_MEASURE = 1e9
MAX_ROWS, MAX_POINTS = 200_000, 5_000


@dataclass(frozen=True)
class CurvePoint:
    """Measures of one step; those that the provider did not report are missing."""

    step: int
    values: Mapping[str, float]


def read_point(step: object, measures: Mapping[str, Any]) -> CurvePoint | None:
    """Read the measures of a step from an event, a checkpoint or a row; None where there are none."""
    number = _number(step)
    if number is None or not 0 <= number <= MAX_STEP:
        return None
    values = {}
    for name, columns in MEASURE_NAMES.items():
        measure = next((value for column in columns if (value := _number(measures.get(column))) is not None), None)
        if measure is not None:
            values[name] = measure
    return CurvePoint(int(number), values) if values else None


def read_csv(data: bytes) -> list[CurvePoint]:
    """Read the points of a results file, thinned where there are very many. Raises ValueError where it is no CSV with a
    column `step`."""
    text = _unwrap_base64(data).decode("utf-8-sig", errors="replace")
    rows = csv.DictReader(io.StringIO(text))
    try:
        header = [name.strip() for name in rows.fieldnames or ()]
        if "step" not in header:
            raise ValueError("The file of results has no column step.")
        rows.fieldnames = header
        points = [parsed for row in islice(rows, MAX_ROWS) if (parsed := read_point(row.get("step"), row))]
    except csv.Error as error:
        raise ValueError(f"The file of results is no CSV: {error}") from None
    return thin_points(points, MAX_POINTS)


def merge_points(points: Iterable[CurvePoint]) -> list[CurvePoint]:
    """Merge points into one a step, in order; later points add to earlier ones."""
    values_by_step: dict[int, dict[str, float]] = {}
    for curve_point in points:
        values_by_step.setdefault(curve_point.step, {}).update(curve_point.values)
    return [CurvePoint(step, values_by_step[step]) for step in sorted(values_by_step)]


def thin_points(points: list[CurvePoint], max_points: int) -> list[CurvePoint]:
    """Keep at most so many points, evenly spaced, the last among them: as many as a chart can show."""
    if len(points) <= max_points:
        return points
    every = math.ceil(len(points) / (max_points - 1))
    return [*points[::every], *([] if (len(points) - 1) % every == 0 else [points[-1]])]


def _number(value: object) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(str(value).strip())
    except ValueError:
        return None
    # A larger loss is an error, and no chart has room for it.
    return number if math.isfinite(number) and abs(number) <= MAX_MEASURE else None


def _unwrap_base64(data: bytes) -> bytes:
    if b"," in data[:1_000]:
        return data
    try:
        return base64.b64decode(b"".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return data
