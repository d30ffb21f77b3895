"""Advisories against a tuning, and the settings to begin with. Pure.

Two of the pitfalls that Cuebook's source document names are detected here: forgetting what the base could do (narrow
data, many epochs, high rates), and facts to be learned by heart (they belong into retrieval).
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetunes.training_sets.estimates import Hyperparameters

# Settings to begin with, and the reasons.
DEFAULTS = Hyperparameters(n_epochs=3, batch_size=4, learning_rate_multiplier=1.0)
BETA = 0.1
REASONS: Mapping[str, str] = {
    "n_epochs": "Three times through the data: enough for format and style, few enough not to learn cases by heart.",
    "batch_size": "Small steps: with hundreds of examples larger batches leave too few of them.",
    "learning_rate_multiplier": "The provider’s own rate: higher ones forget faster what the base could.",
    "beta": "0.1 lets preferences count and keeps the model near its base; lower drifts further.",
}
MANY_EPOCHS, HIGH_RATE, NARROW_EXAMPLES = 5, 2.0, 100
# A word of an answer counts as a fact where it has a digit or a capital within a sentence, or is long and rare.
FACT = re.compile(r"\b(?:[A-Z][\w-]{2,}|\w*\d[\w.,/-]*)\b")
RARE_RATIO = 0.02
MIN_KNOWLEDGE_RATIO = 0.3
MIN_JUDGED = 10
MIN_JUDGED_LENGTH = 40


@dataclass(frozen=True)
class Advisory:
    """A warning with a stable `key`, the `message` and the `advice` what to do."""

    key: str
    message: str
    advice: str

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def setting_advisories(
    examples: int, hyperparameters: Hyperparameters, epochs: int, *, has_general: bool
) -> list[Advisory]:
    """Warn of what may go wrong with so many examples and these settings."""
    advisories = []
    rate = hyperparameters.learning_rate_multiplier or 1.0
    if examples < NARROW_EXAMPLES and epochs > MANY_EPOCHS:
        sentence = f"{examples} examples, {epochs} times: the model may learn them by heart and forget the rest."
        advisories.append(Advisory("forgetting", sentence, "Take 3 epochs, or collect more examples."))
    elif epochs > MANY_EPOCHS:
        sentence = f"{epochs} epochs: what the base can beside this task may be forgotten."
        advisories.append(Advisory("forgetting", sentence, "Begin with 3, and look at the validation loss first."))
    if rate > HIGH_RATE:
        sentence = f"A rate of {rate:g} times the usual one forgets faster than it learns."
        advisories.append(Advisory("rate", sentence, "Begin with 1.0."))
    if not has_general:
        sentence = "The dataset has no case in its general split, so forgetting cannot be measured."
        advisories.append(Advisory("general", sentence, "Add some cases of other tasks to the split “general”."))
    return advisories


def knowledge_advisory(pairs: Iterable[tuple[str, str]]) -> Advisory | None:
    """Warn where answers contain facts that questions do not have: numbers and names that occur in few answers.

    `pairs` are (question, answer). Short answers, such as labels, say nothing either way and are skipped.
    """
    judged = [(question, answer) for question, answer in pairs if len(answer) >= MIN_JUDGED_LENGTH]
    if len(judged) < MIN_JUDGED:
        return None
    uses = Counter(word for _, answer in judged for word in set(_facts_in(answer)))
    max_uses = max(1, round(RARE_RATIO * len(judged)))
    with_new = sum(
        any(uses[word] <= max_uses and word.lower() not in question.lower() for word in _facts_in(answer))
        for question, answer in judged
    )
    share = with_new / len(judged)
    if share < MIN_KNOWLEDGE_RATIO:
        return None
    return Advisory(
        "knowledge",
        f"{share:.0%} of the answers state names or numbers that their questions do not have.",
        "This looks like knowledge, not style: a tuned model makes such facts up. Let a search put them in.",
    )


def _facts_in(text: str) -> Sequence[str]:
    # The first word of a sentence has a capital anyway.
    inner = re.sub(r"(^|[.!?:\n\"]\s*)[A-Z]", lambda match: match[0].lower(), text)
    return FACT.findall(inner)
