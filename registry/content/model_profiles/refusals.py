"""What a version asks of its model and the model refuses, by the model's profile: a hint while it is written, and a
refusal before a run spends money on it. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.messages import images_of
from core.model_settings import SAME_MEANING, SAMPLING_SETTINGS, ModelSettings, read_settings
from registry.content.model_profiles.facts import ModelProfile


@dataclass(frozen=True)
class ModelRefusal:
    """One thing that a model refuses: the setting's name (or `tools`, `response`, `images`, `prefill`), its pointer in
    the content, and a sentence that says what to do."""

    setting: str
    pointer: str
    sentence: str


def refusals(content: Mapping[str, Any], profile: ModelProfile, name: str = "") -> list[ModelRefusal]:
    """Return what the model would refuse of a content in normal form. `name` is the model's, for the sentences."""
    settings = read_settings(content.get("model", {}))
    model = name or str(content.get("model", {}).get("name", "")) or "The model"
    checks = (_settings(settings, profile, model), _sampling(settings, profile, model), _parts(content, profile, model))
    return [refusal for check in checks for refusal in check]


def is_reasoning(settings: ModelSettings, profile: ModelProfile) -> bool:
    """Return whether a model reasons under these settings: it does where nothing says that it does not."""
    effort = settings.effort or profile.default_effort
    return profile.reasons and effort != "none"


def _settings(settings: ModelSettings, profile: ModelProfile, model: str) -> Iterator[ModelRefusal]:
    pointers = {word: f"/model/{name}" for word, name in settings.named.items()}
    limit, most = settings.max_output_tokens, profile.max_output_tokens
    if limit is not None and most is not None and limit > most:
        sentence = f"{model} writes at most {most:,} tokens."
        yield ModelRefusal("max_output_tokens", pointers["max_output_tokens"], sentence)
    # Not to reason is what a model that cannot does anyway; nothing is sent for it.
    efforts = ("none",) if profile.efforts == () else profile.efforts
    if settings.effort is not None and efforts is not None and settings.effort not in efforts:
        sentence = f"{model} takes these efforts: {', '.join(efforts)}."
        if not profile.reasons:
            sentence = f"{model} does not reason; leave the effort out."
        yield ModelRefusal("reasoning.effort", pointers["effort"], sentence)
    elif settings.summary is not None and profile.efforts == ():
        yield ModelRefusal("reasoning.summary", pointers["summary"], f"{model} does not reason; leave the summary out.")
    for name in profile.refuses:
        if member := _member_for(name, settings):
            yield ModelRefusal(name, f"/model/{member}", f"{model} refuses {name}; leave it out.")


def _member_for(name: str, settings: ModelSettings) -> str | None:
    """Return the member of a version that says what a setting's name means, whatever word it has there."""
    if name in settings.others:
        return name
    word = next((words[0] for words in SAME_MEANING if name in words), name)
    if word == "reasoning":
        return settings.named.get("effort") or settings.named.get("summary")
    return settings.named.get(word)


def _sampling(settings: ModelSettings, profile: ModelProfile, model: str) -> Iterator[ModelRefusal]:
    if profile.sampling in (None, "always"):
        return
    if profile.sampling == "without_reasoning" and not is_reasoning(settings, profile):
        return
    advice = "leave it out" if profile.sampling == "never" else "leave it out, or set reasoning.effort to none"
    # The default may be said.
    defaults = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "logprobs": False}
    for name in SAMPLING_SETTINGS:
        if name in settings.others and settings.others[name] != defaults.get(name):
            yield ModelRefusal(name, f"/model/{name}", f"{model} takes no {name}; {advice}.")


def _parts(content: Mapping[str, Any], profile: ModelProfile, model: str) -> Iterator[ModelRefusal]:
    messages = content.get("messages", ())
    if profile.supports_images is False:
        for index, message in enumerate(messages):
            if images_of(message):
                yield ModelRefusal("images", f"/messages/{index}/content", f"{model} takes no images.")
    if profile.supports_tools is False and content.get("tools"):
        yield ModelRefusal("tools", "/tools", f"{model} takes no tools.")
    if profile.supports_schema is False and content.get("response", {}).get("format") == "json_schema":
        sentence = f"{model} does not hold answers to a JSON Schema; ask for JSON in words."
        yield ModelRefusal("response", "/response/format", sentence)
    if profile.supports_prefill is False and messages and messages[-1]["role"] == "assistant":
        pointer = f"/messages/{len(messages) - 1}"
        yield ModelRefusal("prefill", pointer, f"{model} does not go on with a last message of the assistant.")
