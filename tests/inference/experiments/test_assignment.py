"""Assignment of subjects to arms: as the vectors say, for every client."""

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.assignment import Arm, assign, place

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parents[2] / "vectors/assignment.json").read_text()
)


def arms(*weights: int) -> list[Arm]:
    return [Arm(name, weight) for name, weight in zip("abc", weights, strict=False)]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['salt']}-{vector['subject']}")
def test_the_vectors(vector: dict[str, Any]):
    challengers = [Arm(name, weight) for name, weight in vector["challengers"]]

    assert assign(vector["salt"], vector["subject"], vector["baseline"], challengers) == vector["arm"]
    assert place(vector["salt"], vector["subject"]) == pytest.approx(vector["place"], abs=1e-15)


def test_arms_get_their_shares():
    counts = Counter(assign("salt", f"user-{number}", "base", arms(1_000, 2_500, 500)) for number in range(20_000))

    shares = {name: count / 20_000 for name, count in counts.items()}
    assert shares == pytest.approx({"base": 0.6, "a": 0.1, "b": 0.25, "c": 0.05}, abs=0.01)


def test_a_ramp_moves_subjects_from_the_baseline_alone():
    subjects = [f"user-{number}" for number in range(5_000)]
    ramp = [
        {name: assign("s", name, "base", arms(weight, weight)) for name in subjects} for weight in (100, 1_000, 5_000)
    ]

    for before, after in itertools.pairwise(ramp):
        assert all(after[name] == arm for name, arm in before.items() if arm != "base")
    assert "base" not in ramp[-1].values()


def test_another_salt_is_another_draw():
    both = Counter(
        (assign("one", f"user-{number}", "base", arms(5_000)), assign("two", f"user-{number}", "base", arms(5_000)))
        for number in range(10_000)
    )
    assert all(2_300 < count < 2_700 for count in both.values())


def test_too_much_is_refused():
    with pytest.raises(ValueError, match="weights"):
        assign("s", "x", "base", arms(6_000, 4_001))
    with pytest.raises(ValueError, match="weights"):
        assign("s", "x", "base", arms(-1))
