"""What a tuning will take: tokens, epochs, steps, money and time. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import Any

MILLION = 1_000_000
# The longest training example in tokens, by the start of the model's name (Azure's and OpenAI's tables of models).
LONGEST_EXAMPLE: Mapping[str, int] = {"gpt-4o": 65_536, "gpt-4.1": 65_536, "gpt-3.5-turbo": 16_385}
# What OpenAI's cookbook takes "auto" to mean, so that neither little data is seen too rarely nor much too often.
TARGET_EPOCHS, LEAST_SEEN, MOST_SEEN, MOST_EPOCHS = 3, 100, 25_000, 25
EPOCHS, BATCH_SIZES = (1, 50), (1, 256)
LARGEST_RATE = 100.0
AUTO = "auto"


@dataclass(frozen=True)
class Hyperparameters:
    """None: the provider decides. `beta` is for preference pairs alone: how near to the base the model stays."""

    n_epochs: int | None = 3
    batch_size: int | None = 4
    learning_rate_multiplier: float | None = 1.0
    beta: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """As the protocol has them; `auto` for what the provider decides."""
        members = {
            "n_epochs": self.n_epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }
        found: dict[str, Any] = {name: AUTO if value is None else value for name, value in members.items()}
        return found if self.beta is None else {**found, "beta": self.beta}


@dataclass(frozen=True)
class Estimate:
    """`seconds` and `cost_usd` are None where nobody has measured or said anything that they could come from."""

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


def longest_example(model: str) -> int | None:
    """The most tokens that an example may have for this base, or None where it is not known."""
    name = model.removeprefix("ft:")
    fitting = [prefix for prefix in LONGEST_EXAMPLE if name.startswith(prefix)]
    return LONGEST_EXAMPLE[max(fitting, key=len)] if fitting else None


def automatic_epochs(examples: int) -> int:
    """How often a provider would go through so many examples by itself (the cookbook's rule)."""
    if examples * TARGET_EPOCHS < LEAST_SEEN:
        return min(MOST_EPOCHS, max(1, LEAST_SEEN // max(1, examples)))
    if examples * TARGET_EPOCHS > MOST_SEEN:
        return max(1, MOST_SEEN // examples)
    return TARGET_EPOCHS


def estimated(
    lengths: Sequence[int],
    hyperparameters: Hyperparameters,
    *,
    is_exact: bool,
    longest: int | None = None,
    price: Decimal | None = None,
    seconds_per_token: float | None = None,
) -> Estimate:
    """`lengths` are the tokens of each training example; `price` is US dollars for a million trained tokens.

    Cost = sum of min(longest, length) x epochs x price / 1,000,000: what Azure and the cookbook say is billed. What was
    really billed is the job's trained tokens.
    """
    epochs = hyperparameters.n_epochs or automatic_epochs(len(lengths))
    read = sum(lengths) if longest is None else sum(min(longest, one) for one in lengths)
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
