"""The settings of a version's model, in our words: each protocol writes them in its own. Pure.

`max_output_tokens`, `reasoning` (`effort`, `summary`) and `verbosity` are the words; versions of before may have
OpenAI's `max_tokens`, `max_completion_tokens` and `reasoning_effort`, which mean the same and keep their hashes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

LIMITS = ("max_output_tokens", "max_completion_tokens", "max_tokens")
SAME_MEANING = (LIMITS, ("reasoning", "reasoning_effort"))
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
SUMMARIES = ("auto", "concise", "detailed")
VERBOSITIES = ("low", "medium", "high")
# An hour has a price of its own, which nobody here can enter yet.
CACHE_TIMES = ("5m",)
# Settings that a model which reasons refuses: it samples as it needs.
SAMPLING_SETTINGS = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs")


@dataclass(frozen=True)
class ModelSettings:
    """Settings that were read. `named` has the member of the version that each came from; `others` are settings that
    have no word of ours, as the provider has them."""

    max_output_tokens: int | None = None
    effort: str | None = None
    summary: str | None = None
    verbosity: str | None = None
    # How long a provider that is told keeps the prompt's beginning: CACHE_TIMES.
    prompt_cache: str | None = None
    others: Mapping[str, Any] = field(default_factory=dict)
    named: Mapping[str, str] = field(default_factory=dict)

    def without_idle_effort(self, efforts: Sequence[str] | None) -> "ModelSettings":
        """Return the settings without the effort `none` where a model has no efforts at all."""
        return replace(self, effort=None) if self.effort == "none" and efforts == () else self


def read_settings(model: Mapping[str, Any]) -> ModelSettings:
    """Read the settings of a version's `model`, or those of a request."""
    others = {name: value for name, value in model.items() if name != "name" and value is not None}
    named: dict[str, str] = {}

    def take(word: str, *names: str) -> Any:
        value = None
        for name in reversed(names):
            if name in others:
                value, named[word] = others.pop(name), name
        return value

    limit = take("max_output_tokens", *LIMITS)
    # What is no text is no effort of anybody's: it stays what it is.
    old_effort = take("effort", "reasoning_effort") if isinstance(others.get("reasoning_effort"), str) else None
    reasoning = others.get("reasoning")
    summary = None
    if (
        isinstance(reasoning, Mapping)
        and reasoning.keys() <= {"effort", "summary"}
        and all(isinstance(value, str | None) for value in reasoning.values())
    ):
        others.pop("reasoning")
        if reasoning.get("effort") is not None:
            old_effort, named["effort"] = reasoning["effort"], "reasoning/effort"
        summary = reasoning.get("summary")
        named |= {"summary": "reasoning/summary"} if summary is not None else {}
    return ModelSettings(
        max_output_tokens=limit,
        effort=old_effort,
        summary=summary,
        verbosity=take("verbosity", "verbosity"),
        prompt_cache=take("prompt_cache", "prompt_cache"),
        others=others,
        named=named,
    )


def laid_over(own: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return a version's settings with others in their place: whatever word says the same is replaced."""
    replaced = {word for words in SAME_MEANING if others.keys() & set(words) for word in words}
    both = {**{name: value for name, value in own.items() if name not in replaced}, **others}
    old, new = own.get("reasoning"), others.get("reasoning")
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        # Another effort leaves the summary as it is.
        both["reasoning"] = {**old, **new}
    return both


def as_chat_completions(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a version's settings, its model's name among them, in the words of OpenAI's Chat Completions. What that
    has no word for stays as it is, so that a provider refuses it rather than nobody noticing."""
    written = dict(model)
    if LIMITS[0] in written:
        written[LIMITS[1]] = written.pop(LIMITS[0])
    reasoning = written.get("reasoning")
    if isinstance(reasoning, Mapping) and reasoning.keys() == {"effort"}:
        written["reasoning_effort"] = written.pop("reasoning")["effort"]
    return written


def setting_fault(name: str, value: Any) -> tuple[str, str] | None:
    """Return the member of a setting that is wrong and a sentence, or None."""
    if name == "reasoning":
        if not isinstance(value, dict):
            return "", "Must be an object with effort and summary."
        for member, choices in (("effort", EFFORTS), ("summary", SUMMARIES)):
            if value.get(member) is not None and value[member] not in choices:
                return f"/{member}", f"Must be one of: {', '.join(choices)}."
    # Not of `reasoning_effort`: it is the provider's own word, and some have efforts of their own.
    words = {"verbosity": VERBOSITIES, "prompt_cache": CACHE_TIMES}.get(name, ())
    if words and value not in words:
        return "", f"Must be one of: {', '.join(words)}."
    return None
