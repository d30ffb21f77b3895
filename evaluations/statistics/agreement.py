"""Agreement of two annotators. Pure: usable without Django."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class Agreement:
    """Cohen's kappa with its counts. `kappa` is None where it is undefined: nothing was annotated twice, or both
    annotators always gave the same single label."""

    cases: int
    agreed: int
    kappa: float | None

    @property
    def share(self) -> float | None:
        return self.agreed / self.cases if self.cases else None

    @property
    def words(self) -> str:
        """Kappa in words, by Landis and Koch 1977 (a convention, not a law)."""
        if self.kappa is None:
            return "no answer yet"
        if self.kappa < 0:
            return "less than chance"
        names = ("slight", "fair", "moderate", "substantial", "almost perfect")
        return names[max(0, ceil(self.kappa * 5) - 1)]


def cohen(pairs: Sequence[tuple[str, str]]) -> Agreement:
    """Compute Cohen's kappa (1960) from two labels per case: (observed - chance) / (1 - chance).

    Chance is how often two annotators would agree who gave each label as often as these, but at random.
    """
    total = len(pairs)
    agreed = sum(first == second for first, second in pairs)
    if not total:
        return Agreement(0, 0, None)
    firsts, seconds = Counter(first for first, _ in pairs), Counter(second for _, second in pairs)
    chance = sum(firsts[label] * seconds[label] for label in firsts) / total**2
    observed = agreed / total
    return Agreement(total, agreed, (observed - chance) / (1 - chance) if chance < 1 else None)
