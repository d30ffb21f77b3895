"""A provider's model: what it takes, what it was seen to refuse, and corrections."""

from typing import Any

from django.http import HttpRequest, HttpResponse

from core.errors import Problem
from core.model_settings import EFFORTS
from evaluations.models import ProviderModel
from evaluations.providers import configuration as providers
from evaluations.providers import profiles
from registry.accounts.permissions import Actor
from registry.content.model_profiles.facts import ModelProfile, facts_source
from registry.views.frame import done, errors_of, in_project, only_post, page, page_url, refused, whole

BOOLEANS = {
    "supports_images": "Takes images",
    "supports_tools": "Takes tools",
    "supports_schema": "Holds answers to a JSON Schema",
    "supports_prefill": "Goes on with a last message of the assistant",
}
SAMPLINGS = {
    "always": "It takes them",
    "never": "It takes none",
    "without_reasoning": "It takes them while it does not reason",
}
TEXTS = ("is_like", "sampling", "shutdown_date", "successor")


@in_project
def model_detail(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    model = providers.get_model(actor.project, f"{name}/{request.GET.get('model', '')}")
    corrections = model.corrections
    values = {**corrections, "refuses": " ".join(corrections.get("refuses", ()))}
    status, errors = 200, {}
    if request.method == "POST":
        try:
            profiles.correct(actor, model, _read_form(request))
            return done(request, f"Corrections of {model.name} saved", request.get_full_path())
        except Problem as problem:
            values = {field: request.POST.get(field, "") for field in (*TEXTS, *profiles.LIMITS, "refuses")}
            values |= {"efforts": request.POST.getlist("efforts"), **_read_booleans(request)}
            status, errors = problem.kind.status, errors_of(problem)
    profile = profiles.profile_of(model)
    context = {
        **{"section": "settings", "tab": "providers", "provider": model.provider, "model": model},
        **{"values": values, "errors": errors},
        "end": profiles.end_of(model),
        "facts": _facts(profile, model),
        "source": facts_source(),
        "refused": model.refused_settings.items(),
        "yes_or_no": [(field, label, values.get(field)) for field, label in BOOLEANS.items()],
        "samplings": SAMPLINGS.items(),
        "efforts": EFFORTS,
    }
    return page(request, actor, "evaluations/providers/model_detail.html", context, status=status)


@in_project
@only_post
def model_archive(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Archive or restore the model."""
    model = providers.get_model(actor.project, f"{name}/{request.POST.get('model', '')}")
    is_restored = request.POST.get("do") == "restore"
    (providers.restore_model if is_restored else providers.archive_model)(actor, model)
    sentence = f"{model.name} {'restored' if is_restored else 'archived: nothing offers it any more'}"
    return done(request, sentence, page_url("evaluations:provider-detail", actor, name))


@in_project
@only_post
def model_refusal(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Settle what the model was seen to refuse."""
    model = providers.get_model(actor.project, f"{name}/{request.POST.get('model', '')}")
    address = page_url("evaluations:provider-detail", actor, name)
    setting = request.POST.get("setting", "")
    is_confirmed = request.POST.get("is_confirmed") == "1"
    try:
        (profiles.accept_refusal if is_confirmed else profiles.dismiss_refusal)(actor, model, setting)
    except Problem as problem:
        return refused(request, problem, address)
    return done(request, f"{model.name} never takes {setting}" if is_confirmed else f"{setting}: forgotten", address)


def _read_form(request: HttpRequest) -> dict[str, Any]:
    corrections: dict[str, Any] = {field: request.POST.get(field, "").strip() for field in TEXTS}
    for field in profiles.LIMITS:
        typed = request.POST.get(field, "").strip()
        number = whole(typed)
        corrections[field] = typed if number is None else number
    corrections |= _read_booleans(request)
    corrections["efforts"] = request.POST.getlist("efforts") or None
    corrections["refuses"] = request.POST.get("refuses", "").split() or None
    return corrections


def _read_booleans(request: HttpRequest) -> dict[str, bool | None]:
    return {field: {"1": True, "0": False}.get(request.POST.get(field, "")) for field in BOOLEANS}


def _facts(profile: ModelProfile, model: ProviderModel) -> list[tuple[str, str, bool]]:
    """Return (title, text, whether a person said so) of everything that is known."""

    def yes(value: bool | None) -> str:
        return {True: "yes", False: "no"}.get(value, "") if value is not None else ""

    rows = [
        ("is_like", "It is", str(model.corrections.get("is_like", ""))),
        (
            "max_input_tokens",
            "Reads at most",
            f"{profile.max_input_tokens:,} tokens" if profile.max_input_tokens else "",
        ),
        (
            "max_output_tokens",
            "Writes at most",
            f"{profile.max_output_tokens:,} tokens" if profile.max_output_tokens else "",
        ),
        ("efforts", "Reasoning", _efforts(profile)),
        ("sampling", "Temperature and the like", SAMPLINGS.get(profile.sampling or "", "")),
        *((field, label, yes(getattr(profile, field))) for field, label in BOOLEANS.items()),
        ("endpoints", "Served over", " and ".join(ENDPOINTS[name] for name in profile.endpoints)),
        ("refuses", "Refuses", ", ".join(profile.refuses)),
        ("shutdown_date", "Ends", str(profile.shutdown_date or "")),
        ("successor", "Followed by", profile.successor),
    ]
    return [(title, text, field in model.corrections) for field, title, text in rows if text]


ENDPOINTS = {"chat": "Chat Completions", "responses": "Responses"}


def _efforts(profile: ModelProfile) -> str:
    if profile.efforts is None:
        return ""
    if not profile.reasons:
        return "none"
    usual = f"; {profile.default_effort} where none is named" if profile.default_effort else ""
    return f"{', '.join(profile.efforts)}{usual}"
