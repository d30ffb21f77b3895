"""What speaks against a tuning, and which settings to begin with. Pure.

Two of the pitfalls that Cuebook's source document names are looked for here: a model that forgets what it could
(narrow data, many epochs, high rates), and facts that are to be learned by heart (they belong into a search).
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetunes.training_sets.estimates import Hyperparameters

# What to begin with, and why.
DEFAULTS = Hyperparameters(n_epochs=3, batch_size=4, learning_rate_multiplier=1.0)
BETA = 0.1
REASONS: Mapping[str, str] = {
    "n_epochs": "Three times through the data: enough for format and style, few enough not to learn cases by heart.",
    "batch_size": "Small steps: with hundreds of examples larger batches leave too few of them.",
    "learning_rate_multiplier": "The provider’s own rate: higher ones forget faster what the base could.",
    "beta": "0.1 lets preferences count and keeps the model near its base; lower drifts further.",
}
MANY_EPOCHS, HIGH_RATE, NARROW = 5, 2.0, 100
# A word of an answer counts as a fact where it has a digit or a capital within a sentence, or is long and rare.
FACT = re.compile(r"\b(?:[A-Z][\w-]{2,}|\w*\d[\w.,/-]*)\b")
RARE_SHARE = 0.02
KNOWLEDGE_SHARE = 0.3
LEAST_JUDGED = 10
SHORTEST_JUDGED = 40


@dataclass(frozen=True)
class Warned:
    """`key` is stable; `message` says what and `advice` what to do."""

    key: str
    message: str
    advice: str

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def warnings(examples: int, hyperparameters: Hyperparameters, epochs: int, *, has_general: bool) -> list[Warned]:
    """What may go wrong with so many examples and these settings."""
    found = []
    rate = hyperparameters.learning_rate_multiplier or 1.0
    if examples < NARROW and epochs > MANY_EPOCHS:
        sentence = f"{examples} examples, {epochs} times: the model may learn them by heart and forget the rest."
        found.append(Warned("forgetting", sentence, "Take 3 epochs, or collect more examples."))
    elif epochs > MANY_EPOCHS:
        sentence = f"{epochs} epochs: what the base can beside this task may be forgotten."
        found.append(Warned("forgetting", sentence, "Begin with 3, and look at the validation loss first."))
    if rate > HIGH_RATE:
        sentence = f"A rate of {rate:g} times the usual one forgets faster than it learns."
        found.append(Warned("rate", sentence, "Begin with 1.0."))
    if not has_general:
        sentence = "The dataset has no case on its general side, so forgetting cannot be measured."
        found.append(Warned("general", sentence, "Add some cases of other tasks, placed on “general”."))
    return found


def knowledge(pairs: Iterable[tuple[str, str]]) -> Warned | None:
    """Whether answers bring facts that questions do not have: numbers and names that stand in few answers.

    `pairs` are (question, answer). Short answers, such as labels, say nothing either way and are not judged.
    """
    judged = [(asked, said) for asked, said in pairs if len(said) >= SHORTEST_JUDGED]
    if len(judged) < LEAST_JUDGED:
        return None
    often = Counter(word for _, said in judged for word in set(_facts(said)))
    most = max(1, round(RARE_SHARE * len(judged)))
    with_new = sum(
        any(often[word] <= most and word.lower() not in asked.lower() for word in _facts(said))
        for asked, said in judged
    )
    share = with_new / len(judged)
    if share < KNOWLEDGE_SHARE:
        return None
    return Warned(
        "knowledge",
        f"{share:.0%} of the answers state names or numbers that their questions do not have.",
        "This looks like knowledge, not style: a tuned model makes such facts up. Let a search put them in.",
    )


def _facts(text: str) -> Sequence[str]:
    # The first word of a sentence has a capital anyway.
    inner = re.sub(r"(^|[.!?:\n\"]\s*)[A-Z]", lambda found: found[0].lower(), text)
    return FACT.findall(inner)
