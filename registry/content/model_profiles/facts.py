"""What models take: parameters, modalities, limits, their end and their successor. Pure.

The facts are an extract of LiteLLM's published table (MIT licence), kept in facts.json with its version;
`manage.py model_facts` makes it anew. A model that is not in it has no facts, and nothing is refused for it. What
people know better is kept with a project's model, and laid over the facts (`ModelProfile.corrected`).
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from core.model_settings import EFFORTS

FILE = Path(__file__).with_suffix(".json")
# The vendors of the extract, by the hosts of their servers. Azure serves OpenAI's models.
VENDORS_BY_HOST = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gemini",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "xai",
    "api.groq.com": "groq",
    "api.together.xyz": "together_ai",
    "api.together.ai": "together_ai",
    "api.fireworks.ai": "fireworks_ai",
}
AZURE_HOST_END = (".openai.azure.com", ".services.ai.azure.com")
# Models that are named without their vendor are looked for in this order.
VENDORS = ("openai", "anthropic", "gemini", "mistral", "deepseek", "xai", "groq", "together_ai", "fireworks_ai")
# Of these vendors the table says of every model that reasons that it does.
SAYS_WHO_REASONS = frozenset({"openai", "anthropic", "gemini"})
# Whether a model takes temperature and the like: always, never, or only while it does not reason.
SAMPLING = ("always", "never", "without_reasoning")
# The editor's list: of other vendors there are hundreds.
OFFERED_VENDORS = ("openai", "anthropic", "gemini")
# Words in names of models that do something beside chat.
NOT_CHAT = frozenset(
    {
        *("audio", "image", "realtime", "transcribe", "tts", "search", "live", "cyber", "robotics", "ft:gpt", "codex"),
        *("daybreak", "rosalind", "translate", "omni", "banana", "law", "container", "computer", "deep"),
        *("exp", "gemma", "learnlm", "lyria"),
    }
)
NOT_THINKING = ("gemini-2.5-flash", "gemini-flash")
TUNED = re.compile(r"ft:([^:]+)(?::|$)")
DATE_AT_END = re.compile(r"-\d{4}-?\d{2}-?\d{2}$")
MODEL_PREFIX = re.compile(r"^(?:models/|accounts/[^/]+/models/)")


@dataclass(frozen=True)
class ModelProfile:
    """What a model takes. None where it is not known: then nothing is refused for it. Token counts are whole numbers;
    `endpoints` names the addresses at its maker ("chat", "responses"), empty where not known."""

    vendor: str = ""
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    endpoints: tuple[str, ...] = ()
    supports_images: bool | None = None
    supports_tools: bool | None = None
    supports_schema: bool | None = None
    # The efforts of reasoning that it takes; empty for a model that does not reason.
    efforts: tuple[str, ...] | None = None
    default_effort: str | None = None
    sampling: str | None = None
    # Whether a last message of the assistant is continued.
    supports_prefill: bool | None = None
    # Whether instructions may come later than at the start (Anthropic).
    supports_mid_system: bool | None = None
    # Whether reasoning is set by an effort alone (`adaptive`), or by a number of tokens (Anthropic's older models).
    has_adaptive_thinking: bool | None = None
    shutdown_date: date | None = None
    successor: str = ""
    # Settings that it refuses whatever their value, by name.
    refuses: tuple[str, ...] = ()

    @property
    def refuses_tools_while_reasoning(self) -> bool:
        """Return whether OpenAI's Chat Completions refuses tools while this model reasons (it answers 400, "use
        /v1/responses"): those do that have the effort xhigh, from gpt-5.2 on."""
        return self.vendor == "openai" and "xhigh" in (self.efforts or ())

    @property
    def reasons(self) -> bool:
        return bool(self.efforts) and self.efforts != ("none",)

    def corrected(self, corrections: Mapping[str, Any]) -> "ModelProfile":
        """Return the profile with what people know better, by the names of its members."""
        member_names = {member.name for member in fields(self)}
        own = {name: value for name, value in corrections.items() if name in member_names}
        for name in ("endpoints", "efforts", "refuses"):
            if isinstance(own.get(name), list):
                own[name] = tuple(own[name])
        if isinstance(own.get("shutdown_date"), str):
            own["shutdown_date"] = date.fromisoformat(own["shutdown_date"])
        return replace(self, **own)


UNKNOWN = ModelProfile()


def vendor_of_address(address: str) -> str:
    """Return the vendor of the server at an address; empty for one that is nobody's known server."""
    host = (urlsplit(address).hostname or "").lower()
    return "openai" if host.endswith(AZURE_HOST_END) else VENDORS_BY_HOST.get(host, "")


def get_profile(model: str, vendor: str = "") -> ModelProfile:
    """Return what is known of a model, at its vendor or (where none is named) at the first that has it. A fine-tuned
    model is what it was tuned from."""
    plain = _plain_name(model)
    # A dated name that the table lacks is its alias's model.
    for spelling in (plain, DATE_AT_END.sub("", plain)):
        for name in (vendor,) if vendor else VENDORS:
            facts = _facts().get(name, {}).get(spelling)
            if facts is not None:
                return ModelProfile(vendor=name).corrected(facts)
    return replace(UNKNOWN, vendor=vendor)


@functools.cache
def current_models() -> tuple[str, ...]:
    """Return the names that the editor offers: chat models of the makers whose end nobody has announced."""
    names = [
        name
        for vendor in OFFERED_VENDORS
        for name, facts in sorted(_facts()[vendor].items())
        if "shutdown_date" not in facts and not DATE_AT_END.search(name) and not NOT_CHAT & set(re.split("[-.:]", name))
    ]
    return tuple(names)


def facts_source() -> dict[str, str]:
    """Return where the facts are from: `source`, `version` and `license`."""
    document: dict[str, dict[str, str]] = orjson.loads(FILE.read_bytes())
    return document["about"]


def extract_facts(table: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Take the facts of chat models out of LiteLLM's table, by vendor and name."""
    extract: dict[str, dict[str, dict[str, Any]]] = {vendor: {} for vendor in VENDORS}
    for name, row in table.items():
        vendor = str(row.get("litellm_provider") or "")
        if vendor in extract and row.get("mode") in ("chat", "responses"):
            plain = _plain_name(name.removeprefix(f"{vendor}/"))
            extract[vendor][plain] = _extract_row(vendor, plain, row)
    return {vendor: dict(sorted(facts.items())) for vendor, facts in extract.items()}


def _plain_name(model: str) -> str:
    tuned = TUNED.match(model)
    return tuned[1] if tuned else MODEL_PREFIX.sub("", model)


def _extract_row(vendor: str, name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    efforts = _efforts(vendor, row)
    if efforts and name.startswith(NOT_THINKING):
        # By a budget of 0 tokens, which the table does not tell.
        efforts = ["none", *efforts]
    endpoints = [
        name for name in ("chat/completions", "responses") if f"/v1/{name}" in (row.get("supported_endpoints") or ())
    ]
    facts = {
        "max_input_tokens": _whole(row.get("max_input_tokens")),
        "max_output_tokens": _whole(row.get("max_output_tokens")),
        "endpoints": [name.partition("/")[0] for name in endpoints],
        "supports_images": _support_flag(row, "supports_vision", vendor),
        "supports_tools": _support_flag(row, "supports_function_calling", vendor),
        "supports_schema": _support_flag(row, "supports_response_schema", vendor),
        "efforts": efforts,
        "default_effort": row.get("default_reasoning_effort"),
        "sampling": _sampling(vendor, row, efforts),
        "supports_prefill": row.get("supports_assistant_prefill"),
        "supports_mid_system": row.get("supports_mid_conversation_system"),
        "has_adaptive_thinking": row.get("supports_adaptive_thinking", False) if vendor == "anthropic" else None,
        "shutdown_date": _day(row.get("deprecation_date")),
        "successor": str(row.get("successor_model") or "").removeprefix(f"{vendor}/"),
    }
    # An empty list of efforts is a fact: the model does not reason.
    return {name: value for name, value in facts.items() if value not in (None, "") and (value or name != "endpoints")}


def _support_flag(row: Mapping[str, Any], name: str, vendor: str) -> bool | None:
    """Return whether the table says that a model takes something; the makers' own models are described in full."""
    value = row.get(name)
    return bool(value) if value is not None or vendor in SAYS_WHO_REASONS else None


def _efforts(vendor: str, row: Mapping[str, Any]) -> list[str] | None:
    levels = row.get("reasoning_effort_levels")
    if isinstance(levels, list):
        return [effort for effort in EFFORTS if effort in levels]
    if not row.get("supports_reasoning"):
        return [] if vendor in SAYS_WHO_REASONS else None
    if vendor not in SAYS_WHO_REASONS:
        return None
    usual = {"low", "medium", "high"} - ({"low"} if row.get("supports_low_reasoning_effort") is False else set())
    more = {effort for effort in EFFORTS if row.get(f"supports_{effort}_reasoning_effort")}
    if vendor == "anthropic" and not row.get("thinking_always_on"):
        more.add("none")
    if vendor == "gemini" and row.get("supports_minimal_reasoning_effort") is not False:
        more.add("minimal")
    return [effort for effort in EFFORTS if effort in usual | more]


def _sampling(vendor: str, row: Mapping[str, Any], efforts: list[str] | None) -> str | None:
    if row.get("supports_sampling_params") is False:
        return "never"
    if vendor == "openai" and efforts:
        return "without_reasoning" if "none" in efforts else "never"
    return "always" if vendor in SAYS_WHO_REASONS else None


def _whole(value: object) -> int | None:
    try:
        return int(str(value)) if value is not None else None
    except ValueError:
        return None


def _day(value: object) -> str | None:
    try:
        return str(date.fromisoformat(str(value)))
    except ValueError:
        return None


@functools.cache
def _facts() -> dict[str, dict[str, dict[str, Any]]]:
    document: dict[str, dict[str, dict[str, dict[str, Any]]]] = orjson.loads(FILE.read_bytes())
    return document["models"]
