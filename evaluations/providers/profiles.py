"""What a project's models take: the published facts, and over them what people here know better; and what a provider
was seen to refuse, which a person turns into such a correction."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core.errors import Fault, Problem
from core.model_settings import EFFORTS, laid_over, read_settings
from evaluations.models import ProviderModel
from evaluations.providers.chat import CallError, ChatRequest
from evaluations.providers.wires import get_wire
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.content.model_profiles import facts, refusals
from registry.content.model_profiles.facts import SAMPLING, ModelProfile
from registry.content.model_profiles.refusals import ModelRefusal
from registry.models import Project

MAX_NAME_LENGTH = 64
MAX_DETAIL_LENGTH = 300
MAX_REFUSED = 20
MAX_TOKENS = 2**31 - 1
# As versions write them: a wire's own spelling (`maxOutputTokens`) would refuse nothing.
SETTING_NAME = re.compile(r"[a-z][a-z0-9_.]{0,63}")
# Corrections that people make, and what each has to be. `is_like` names the model that stands behind a deployment.
BOOLEANS = ("supports_images", "supports_tools", "supports_schema", "supports_prefill")
LIMITS = ("max_input_tokens", "max_output_tokens")
CORRECTIONS = ("is_like", "sampling", "efforts", "refuses", "shutdown_date", "successor", *BOOLEANS, *LIMITS)


def profile_of(model: ProviderModel) -> ModelProfile:
    """Return what is known of a model. A server that is nobody's known one has models of its own, of which nothing is
    known unless a person says which model it is."""
    corrections: Mapping[str, Any] = model.corrections
    vendor = facts.vendor_of_address(model.provider.base_url) if not model.provider.is_simulation else ""
    likeness = str(corrections.get("is_like") or "")
    profile = facts.UNKNOWN
    if likeness or vendor:
        profile = facts.get_profile(likeness or model.name, "" if likeness else vendor)
    if not vendor:
        # Where its maker serves a model says nothing of another server that has it.
        profile = replace(profile, endpoints=())
    return profile.corrected(corrections)


def profile_in_project(project: Project, name: str) -> ModelProfile | None:
    """Return what is known of the project's model of this name, or of a provider's (`provider/model`); None where it
    has none. Of several that of which people have said something, or else something is published."""
    rows = ProviderModel.objects.filter(provider__project=project, provider__archived_at=None)
    provider, _, own_name = name.partition("/")
    named = Q(name=name) | Q(provider__name=provider, name=own_name)
    models = rows.filter(named).select_related("provider").order_by("provider__is_simulation", "id")
    candidates = [(profile_of(model), bool(model.corrections)) for model in models]
    best = max(candidates, key=lambda each: (each[1], each[0] != facts.UNKNOWN), default=None)
    return best[0] if best else None


def end_of(model: ProviderModel) -> date | None:
    """Return the day on which a model is shut down: as people here say, by its provider's own list, or as published."""
    if "shutdown_date" in model.corrections:
        return profile_of(model).shutdown_date
    return model.shutdown_date or profile_of(model).shutdown_date


def refusals_of(
    model: ProviderModel, content: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
) -> list[ModelRefusal]:
    """Return what of a version this model or its provider's protocol refuses, before anything is paid for. What only a
    rendered message shows is refused when it is sent."""
    profile = profile_of(model)
    settings = laid_over(content.get("model", {}), parameters or {})
    settings.pop("name", None)
    refused = refusals.refusals({**content, "model": settings}, profile, model.name)
    form = content.get("response", {}).get("format")
    response_format = {"type": form} if form else None
    request = ChatRequest(model.name, (), settings, response_format, content.get("tools", ()), profile)
    names = {refusal.setting for refusal in refused}
    unfit = get_wire(model.provider.protocol).unfit_settings(request)
    return [*refused, *(refusal for refusal in unfit if refusal.setting not in names)]


def require_accepted(
    model: ProviderModel, content: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
) -> None:
    """Raise `model.refuses` with what the model would refuse of a version."""
    if refused := refusals_of(model, content, parameters):
        faults = [Fault(f"/content{each.pointer}", "refused", each.sentence) for each in refused]
        sentence = " ".join(dict.fromkeys(each.sentence for each in refused))
        hint = "If that is wrong, an admin can correct what is known of it in the provider's settings."
        raise Problem("model.refuses", f"{sentence} {hint}", faults=faults)


@transaction.atomic
def correct(actor: Actor, model: ProviderModel, corrections: Mapping[str, Any]) -> ProviderModel:
    """Replace the corrections of a model's profile; those that are None go, and the facts hold again."""
    actor.require(Right.ADMINISTER)
    checked, faults = _read_corrections(corrections)
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    locked = lock_model(model)
    before, locked.corrections = locked.corrections, checked
    # Who says that a setting is refused has seen what was learned; who says that it is not, too.
    locked.refused_settings = {
        name: seen for name, seen in locked.refused_settings.items() if name not in checked.get("refuses", ())
    }
    locked.save(update_fields=["corrections", "refused_settings"])
    if before != checked:
        audit.record(actor, "model.corrected", locked, before=before, after=checked)
    return locked


@transaction.atomic
def accept_refusal(actor: Actor, model: ProviderModel, setting: str) -> ProviderModel:
    """Take over what the provider refused: versions that name the setting are refused before a run."""
    locked = lock_model(model)
    _require_seen(locked, setting)
    refuses = sorted({*locked.corrections.get("refuses", ()), setting})
    return correct(actor, locked, {**locked.corrections, "refuses": refuses})


@transaction.atomic
def dismiss_refusal(actor: Actor, model: ProviderModel, setting: str) -> ProviderModel:
    """Forget what the provider refused: it was about something else."""
    actor.require(Right.ADMINISTER)
    locked = lock_model(model)
    _require_seen(locked, setting)
    locked.refused_settings = {name: seen for name, seen in locked.refused_settings.items() if name != setting}
    locked.save(update_fields=["refused_settings"])
    audit.record(actor, "model.refusal_dismissed", locked, after={"setting": setting})
    return locked


def note_refusal(model: ProviderModel, error: CallError) -> None:
    """Note the setting that a provider refused by name, for the admins to see; what they said is not repeated."""
    if not error.setting:
        return
    with transaction.atomic():
        locked = lock_model(model)
        seen = {**locked.refused_settings}
        if error.setting in seen or error.setting in locked.corrections.get("refuses", ()) or len(seen) >= MAX_REFUSED:
            return
        seen[error.setting] = {"detail": error.detail[:MAX_DETAIL_LENGTH], "at": timezone.now().isoformat()}
        locked.refused_settings = seen
        locked.save(update_fields=["refused_settings"])


def effective_effort(model: ProviderModel, parameters: Mapping[str, Any]) -> str | None:
    """Return the effort that a model reasons with under these settings; None where it is not known."""
    return read_settings(parameters).effort or profile_of(model).default_effort


def lock_model(model: ProviderModel) -> ProviderModel:
    return ProviderModel.objects.select_for_update(of=("self",)).select_related("provider__project").get(pk=model.pk)


def _require_seen(model: ProviderModel, setting: str) -> None:
    if setting not in model.refused_settings:
        raise Problem(
            "model.no_refusal", f"{model} has refused no {setting[:MAX_NAME_LENGTH]}, or it is settled already."
        )


def _read_corrections(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    corrections = {name: value for name, value in document.items() if value is not None and value != ""}
    faults = [
        Fault(f"/{name}", "unknown", "Is not a fact of a model.") for name in corrections if name not in CORRECTIONS
    ]

    def check(name: str, is_confirmed: bool, sentence: str) -> None:
        if name in corrections and not is_confirmed:
            faults.append(Fault(f"/{name}", "type", sentence))

    for name in BOOLEANS:
        check(name, isinstance(corrections.get(name), bool), "Must be true or false.")
    for name in LIMITS:
        value = corrections.get(name)
        is_whole = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_TOKENS
        check(name, is_whole, f"Must be a whole number of tokens, from 1 to {MAX_TOKENS:,}.")
    check("sampling", corrections.get("sampling") in SAMPLING, f"Must be one of: {', '.join(SAMPLING)}.")
    check("efforts", _are_names(corrections.get("efforts"), EFFORTS), f"Must be of: {', '.join(EFFORTS)}.")
    check(
        "refuses",
        _are_names(corrections.get("refuses")),
        "Must be names of settings as versions write them: max_output_tokens.",
    )
    for name in ("is_like", "successor"):
        value = corrections.get(name)
        check(name, isinstance(value, str) and len(value) <= 200 and value.isprintable(), "Must be a model's name.")
    likeness = str(corrections.get("is_like", ""))
    check("is_like", facts.get_profile(likeness) != facts.UNKNOWN, f"Nothing is published of {likeness[:60]}.")
    if "shutdown_date" in corrections:
        try:
            corrections["shutdown_date"] = str(date.fromisoformat(str(corrections["shutdown_date"])))
        except ValueError:
            faults.append(Fault("/shutdown_date", "type", "Must be a day, as 2027-01-14."))
    return corrections, faults


def _are_names(value: object, allowed: Sequence[str] = ()) -> bool:
    if not isinstance(value, list) or len(value) > MAX_REFUSED:
        return False
    return all(
        isinstance(name, str) and bool(SETTING_NAME.fullmatch(name)) and (not allowed or name in allowed)
        for name in value
    )
