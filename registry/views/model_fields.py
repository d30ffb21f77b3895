"""The model's settings in the editor: fields for the usual ones, each off with a reason where the chosen model does not
take it; any other setting is edited as JSON."""

import json
from collections.abc import Mapping
from typing import Any

from core.model_settings import EFFORTS, LIMITS, VERBOSITIES, read_settings
from registry.content.model_profiles.facts import ModelProfile
from registry.content.model_profiles.refusals import is_reasoning

# Where the editor keeps "other settings" that are no JSON yet (static/js/document.js); no commit takes the name.
UNREADABLE = "(unreadable)"
PLAIN = ("name", "temperature", "top_p", "verbosity")
EFFORT, OLD_EFFORT = "reasoning.effort", "reasoning_effort"
# Written by the field, in place of `reasoning`, which may have other members.
EFFORT_MEMBERS = frozenset({"effort", "summary"})


def model_fields(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template needs of a draft's model: the value of each field, the names that the limit and the
    effort have in this draft (a version keeps the words that it was written in), and the rest as JSON."""
    limit = next((name for name in LIMITS if name in model), LIMITS[0])
    rest = {name: value for name, value in model.items() if name not in {*PLAIN, limit, UNREADABLE}}
    effort, value = (OLD_EFFORT, model[OLD_EFFORT]) if OLD_EFFORT in model else (EFFORT, None)
    reasoning = model.get("reasoning")
    if effort == EFFORT and isinstance(reasoning, dict) and reasoning.keys() <= EFFORT_MEMBERS:
        value = reasoning.get("effort")
    # What the field does not offer is edited as JSON, and not lost.
    if value in EFFORTS and effort == OLD_EFFORT:
        del rest[OLD_EFFORT]
    elif value in EFFORTS:
        rest["reasoning"] = {name: member for name, member in reasoning.items() if name != "effort"}  # type: ignore[union-attr]
    verbosity = model.get("verbosity")
    if verbosity is not None and verbosity not in VERBOSITIES:
        rest["verbosity"] = verbosity
    return {
        "limit": {"name": limit, "value": model.get(limit)},
        "effort": {"name": effort if value in EFFORTS else EFFORT, "value": value if value in EFFORTS else None},
        "efforts": EFFORTS,
        "verbosities": VERBOSITIES,
        "other_settings": model.get(UNREADABLE) or _json({k: v for k, v in rest.items() if k != "reasoning" or v}),
    }


def field_states(model: Mapping[str, Any], profile: ModelProfile) -> dict[str, Any]:
    """Return, for the script, what the chosen model does not take: `off` has the reason by the field's name, `efforts`
    those that it takes (null where that is not known), `max_output_tokens` the most that it writes."""
    name = str(model.get("name") or "")
    settings = read_settings(model)
    off = {}
    if profile.sampling == "never":
        off = dict.fromkeys(("temperature", "top_p"), f"{name} takes none.")
    elif profile.sampling == "without_reasoning" and is_reasoning(settings, profile):
        off = dict.fromkeys(("temperature", "top_p"), f"{name} takes none while it reasons; with effort none it does.")
    if profile.efforts == ():
        off["effort"] = f"{name} does not reason."
    for word, refused in (("effort", "reasoning"), *((name, name) for name in PLAIN)):
        if refused in profile.refuses:
            off[word] = f"{name} refuses {refused}."
    # Of the vendors that are known, OpenAI's models that reason have it.
    if profile.vendor and not (profile.vendor == "openai" and profile.reasons):
        off["verbosity"] = f"{name} has no verbosity; say in the prompt how long the answer should be."
    return {
        "off": off,
        "efforts": list(profile.efforts) if profile.efforts is not None else None,
        "max_output_tokens": profile.max_output_tokens,
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) if value else ""
