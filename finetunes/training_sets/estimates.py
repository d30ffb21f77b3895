"""Estimates of a fine-tune: tokens, epochs, steps, costs and time. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import Any

MILLION = 1_000_000
# The longest training example in tokens, by the start of the model's name (Azure's and OpenAI's tables of models).
MAX_EXAMPLE_TOKENS: Mapping[str, int] = {"gpt-4o": 65_536, "gpt-4.1": 65_536, "gpt-3.5-turbo": 16_385}
# The meaning of "auto" by OpenAI's cookbook, so that small data is not seen too rarely and large data not too often.
TARGET_EPOCHS, MIN_SEEN, MAX_SEEN, MAX_EPOCHS = 3, 100, 25_000, 25
EPOCHS, BATCH_SIZES = (1, 50), (1, 256)
RANKS, LAYERS = (1, 128), (1, 1_000)
MAX_RATE = 100.0
AUTO = "auto"


@dataclass(frozen=True)
class Hyperparameters:
    """Settings of a tuning; None: the provider decides. `beta` is for preference pairs alone: how near to the base the
    model stays. `rank` (of an adapter) and `layers` (how many have one, from the last) are for some protocols."""

    n_epochs: int | None = 3
    batch_size: int | None = 4
    learning_rate_multiplier: float | None = 1.0
    beta: float | None = None
    rank: int | None = None
    layers: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as the protocol has them; `auto` where the provider decides."""
        members = {
            "n_epochs": self.n_epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }
        document: dict[str, Any] = {name: AUTO if value is None else value for name, value in members.items()}
        more = {"beta": self.beta, "rank": self.rank, "layers": self.layers}
        return document | {name: value for name, value in more.items() if value is not None}


@dataclass(frozen=True)
class Estimate:
    """Estimate of a tuning; `seconds` and `cost_usd` are None where there is nothing to compute them from."""

    examples: int
    tokens: int
    is_exact: bool
    epochs: int
    steps: int
    trained_tokens: int
    cost_usd: Decimal | None
    seconds: float | None

    def as_dict(self) -> dict[str, Any]:
        cost = None if self.cost_usd is None else str(round(self.cost_usd, 6))
        return {**vars(self), "cost_usd": cost}


@dataclass(frozen=True)
class EstimatedFigure:
    """A figure of a tuning as it was estimated and as it was; None where it is not known."""

    name: str
    title: str
    unit: str
    estimated: float | None
    actual: float | None


def compare_with_actual(
    estimate: Mapping[str, Any],
    *,
    epochs: object = None,
    steps: int | None = None,
    trained_tokens: int | None = None,
    cost_usd: Decimal | None = None,
    seconds: float | None = None,
) -> list[EstimatedFigure]:
    """Compare an estimate (Estimate.as_dict) with what came of it. `epochs` is what the provider says it used."""
    actual = {
        "epochs": float(epochs) if isinstance(epochs, int | float) and not isinstance(epochs, bool) else None,
        "steps": steps,
        "trained_tokens": trained_tokens,
        "cost_usd": cost_usd,
        "seconds": seconds,
    }
    titles = (
        ("epochs", "Epochs", ""),
        ("steps", "Steps", ""),
        ("trained_tokens", "Trained tokens", ""),
        ("cost_usd", "Cost", "USD"),
        ("seconds", "Training time", "s"),
    )
    return [
        EstimatedFigure(name, title, unit, _as_number(estimate.get(name)), _as_number(actual[name]))
        for name, title, unit in titles
    ]


def _as_number(value: Any) -> float | None:
    return None if value is None else float(value)


def max_example_tokens(model: str) -> int | None:
    """Return the most tokens that an example may have for this base, or None where it is not known."""
    name = model.removeprefix("ft:")
    fitting = [prefix for prefix in MAX_EXAMPLE_TOKENS if name.startswith(prefix)]
    return MAX_EXAMPLE_TOKENS[max(fitting, key=len)] if fitting else None


def automatic_epochs(examples: int) -> int:
    """Return how often a provider goes through so many examples by default (the cookbook's rule)."""
    if examples * TARGET_EPOCHS < MIN_SEEN:
        return min(MAX_EPOCHS, max(1, MIN_SEEN // max(1, examples)))
    if examples * TARGET_EPOCHS > MAX_SEEN:
        return max(1, MAX_SEEN // examples)
    return TARGET_EPOCHS


def estimate_training(
    lengths: Sequence[int],
    hyperparameters: Hyperparameters,
    *,
    is_exact: bool,
    max_tokens: int | None = None,
    price: Decimal | None = None,
    seconds_per_token: float | None = None,
) -> Estimate:
    """Estimate a tuning. `lengths` are the tokens of each training example; `price` is US dollars for a million trained
    tokens.

    Cost = sum of min(max_tokens, length) x epochs x price / 1,000,000: what Azure and the cookbook say is billed. The
    real bill follows the job's trained tokens.
    """
    epochs = hyperparameters.n_epochs or automatic_epochs(len(lengths))
    read = sum(lengths) if max_tokens is None else sum(min(max_tokens, length) for length in lengths)
    trained = read * epochs
    batch = hyperparameters.batch_size or max(1, round(0.002 * len(lengths)))
    return Estimate(
        examples=len(lengths),
        tokens=read,
        is_exact=is_exact,
        epochs=epochs,
        steps=ceil(len(lengths) / batch) * epochs,
        trained_tokens=trained,
        cost_usd=None if price is None else price * trained / MILLION,
        seconds=None if seconds_per_token is None else seconds_per_token * trained,
    )
