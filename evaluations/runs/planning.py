"""What a run will ask: which cases, of which model, how often, and about what that costs."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from django.db.models import Avg, Count, QuerySet

from core.errors import Fault, Problem
from core.json_values import plain
from core.references import HashPrefix, Reference, parse_reference
from evaluations.data_quality import reports
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Case, DatasetVersion, ProviderModel, Result, Split
from evaluations.providers import configuration as providers
from evaluations.providers.chat import Price
from evaluations.scorers import judge
from evaluations.scorers import specs as scoring
from evaluations.scorers.base import Sample
from evaluations.scorers.specs import Spec
from registry.content import tokens
from registry.content.normalize import normalise
from registry.models import Project, PromptVersion
from registry.prompts import resolution, versions

MOST_CASES = 200_000
MOST_REPEATS = 20
LARGEST_BUDGET = Decimal(100_000)
SAMPLE = 100
LEAST_MEASURED = 10
# Where nothing says how long answers are.
USUAL_ANSWER_TOKENS = 200
LONGEST_PARAMETERS = 20
# What a run may set in place of the version's own settings.
PARAMETERS = frozenset(
    {
        *("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "stop", "presence_penalty"),
        *("frequency_penalty", "reasoning_effort", "service_tier", "verbosity"),
    }
)


@dataclass(frozen=True)
class Asked:
    """What somebody wants measured. `model` is `provider/model`; empty where `answers_of` has the answers."""

    version: PromptVersion
    dataset_version: DatasetVersion
    scorers: object
    model: ProviderModel
    split: str = Split.TEST
    parameters: Mapping[str, Any] | None = None
    repeats: int = 1
    leaked: str = "mark"
    limit: int | None = None
    budget_usd: object = None
    # These cases and no others, on whatever side they are.
    cases: Sequence[int] | None = None


DEFAULTS: Mapping[str, Any] = {
    **{"split": Split.TEST, "parameters": None, "repeats": 1, "leaked": "mark", "limit": None, "budget_usd": None},
}


def asked_for(project: Project, document: Mapping[str, Any]) -> Asked:
    """What somebody wants measured, as it is written: `prompt` (support.route@production), `dataset` (support.tickets
    or a version of it, support.tickets@3), `model` (openai/gpt-4.1-mini) and what Asked has beside them."""
    version = resolution.resolve(project, parse_reference(str(document["prompt"])))
    name, _, selector = str(document["dataset"]).partition("@")
    return Asked(
        version=version,
        dataset_version=datasets.selected(project, name, selector or "latest"),
        scorers=document["scorers"],
        model=providers.model_named(project, str(document["model"])),
        **{member: document.get(member, default) for member, default in DEFAULTS.items()},
    )


@dataclass(frozen=True)
class Plan:
    """What will be asked, before anything is."""

    cases: Sequence[int]
    cases_hash: str
    excluded: int
    specs: Sequence[Spec]
    parameters: Mapping[str, Any]
    price: Price | None
    tokens_in: int
    tokens_out: int
    cost_usd: Decimal | None
    budget_usd: Decimal | None

    def estimate(self) -> dict[str, Any]:
        cost = None if self.cost_usd is None else str(round(self.cost_usd, 6))
        return {"tokens_in": self.tokens_in, "tokens_out": self.tokens_out, "cost_usd": cost}


def plan(project: Project, asked: Asked) -> Plan:
    """Choose the cases and estimate; refuses what cannot be measured, with what is wrong."""
    faults: list[Fault] = []
    if asked.split and asked.split not in Split.values:
        faults.append(Fault("/split", "choice", f"Must be one of: {', '.join(Split.values)}, or empty for all."))
    if not isinstance(asked.repeats, int) or not 1 <= asked.repeats <= MOST_REPEATS:
        faults.append(Fault("/repeats", "range", f"Must be a whole number from 1 to {MOST_REPEATS}."))
    if asked.leaked not in ("mark", "exclude"):
        faults.append(Fault("/leaked", "choice", "Must be mark or exclude."))
    if asked.limit is not None and not 1 <= asked.limit <= MOST_CASES:
        faults.append(Fault("/limit", "range", f"Must be from 1 to {MOST_CASES:,}."))
    parameters = read_parameters(asked.parameters or {}, faults)
    budget = read_budget(asked.budget_usd, faults)
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    providers.require_usable(asked.model)
    specs = pinned(project, scoring.read_specs(asked.scorers), asked.model)
    leaked = reports.leaked_cases(asked.dataset_version) if asked.leaked == "exclude" else set()
    there = _cases(asked)
    keys = [key for key in there.values_list("pk", flat=True)[: MOST_CASES + len(leaked) + 1] if key not in leaked]
    excluded = there.filter(pk__in=leaked).count() if leaked else 0
    keys = keys[: asked.limit] if asked.limit else keys
    if not keys:
        raise Problem("run.no_cases", f"{asked.dataset_version} has no case on this side.")
    if len(keys) * asked.repeats > MOST_CASES:
        raise Problem("run.too_large", f"A run has at most {MOST_CASES:,} answers.")
    price = providers.price_of(asked.model)
    if budget is not None and price is None:
        sentence = f"Nobody has said what {asked.model} costs, so a budget cannot be kept. Enter its price first."
        raise Problem("run.no_price", sentence, faults=[Fault("/budget_usd", "price", sentence)])
    if budget is not None:
        _require_judges_prices(project, specs)
    tokens_in, tokens_out = _expected_tokens(asked, parameters, keys)
    count = len(keys) * asked.repeats
    return Plan(
        cases=keys,
        cases_hash=hash_of(keys),
        excluded=excluded,
        specs=specs,
        parameters=parameters,
        price=price,
        tokens_in=tokens_in * count,
        tokens_out=tokens_out * count,
        cost_usd=price.of(tokens_in * count, 0, tokens_out * count) if price else None,
        budget_usd=budget,
    )


def _require_judges_prices(project: Project, specs: Sequence[Spec]) -> None:
    """Judges spend of a run's budget as well."""
    for place, spec in enumerate(specs):
        if not spec.definition.asks_model:
            continue
        judging = providers.model_named(project, str(spec.parameters["model"]))
        if providers.price_of(judging) is None:
            sentence = (
                f"Nobody has said what the judge {judging} costs, so a budget cannot be kept. Enter its price first."
            )
            pointer = f"/scorers/{place}/parameters/model"
            raise Problem("run.no_price", sentence, faults=[Fault(pointer, "price", sentence)])


def plan_of_answers(project: Project, asked: Asked, keys: Sequence[int]) -> Plan:
    """Judging answers that are there: these cases, and nothing is asked but judges."""
    specs = pinned(project, scoring.read_specs(asked.scorers), asked.model)
    price = providers.price_of(asked.model)
    return Plan(keys, hash_of(keys), 0, specs, asked.parameters or {}, price, 0, 0, Decimal(0), None)


def hash_of(keys: Sequence[int]) -> str:
    """What tells one choice of cases from another, whatever their order."""
    return f"sha256:{hashlib.sha256(','.join(map(str, sorted(keys))).encode()).hexdigest()}"


def pinned(project: Project, specs: Sequence[Spec], model: ProviderModel) -> list[Spec]:
    """Scorers with what they refer to fixed: a judge's rubric by its hash, its model by name."""
    found = []
    for place, spec in enumerate(specs):
        if not spec.definition.asks_model:
            found.append(spec)
            continue
        pointer = f"/scorers/{place}/parameters"
        reference = parse_reference(str(spec.parameters["prompt"]))
        rubric = resolution.resolve(project, reference)
        if "examples" in rubric.content:
            sentence = "A rubric picks no examples from a set: it is asked once for every case."
            raise Problem("scorers.invalid", sentence, faults=[Fault(f"{pointer}/prompt", "examples", sentence)])
        _require_renderable(rubric, f"{pointer}/prompt")
        wanted = str(spec.parameters.get("model") or "") or _own_model(rubric, model)
        judging = providers.model_named(project, wanted)
        providers.require_usable(judging)
        parameters = {
            **spec.parameters,
            "prompt": f"{reference.name}@{rubric.content_hash}",
            "model": f"{judging.provider.name}/{judging.name}",
        }
        found.append(Spec(spec.scorer, spec.name, parameters, spec.weight, spec.threshold, spec.negate))
    return found


def _require_renderable(rubric: PromptVersion, pointer: str) -> None:
    """A rubric that needs something a judge is not told is refused before anything is paid for."""
    try:
        versions.render(rubric, judge.asked(Sample(output="x", expected="x"), is_first=True))
    except Problem as problem:
        sentence = f"{rubric} cannot judge: {problem.detail}"
        raise Problem("scorers.invalid", sentence, faults=[Fault(pointer, problem.code, sentence)]) from None


def rubric_of(project: Project, reference: str) -> PromptVersion:
    """The version of a pinned rubric."""
    name, _, digest = reference.partition("@")
    return resolution.resolve(project, Reference(name, HashPrefix(digest)))


def _own_model(rubric: PromptVersion, model: ProviderModel) -> str:
    """The model that a rubric names, where the provider has it; else the one that is measured."""
    own = str(rubric.content.get("model", {}).get("name") or "")
    has = model.provider.models.filter(name=own).exists()
    return f"{model.provider.name}/{own if has else model.name}"


def _cases(asked: Asked) -> QuerySet[Case]:
    cases = Case.objects.of(asked.dataset_version).order_by("id")
    if asked.cases is not None:
        return cases.filter(pk__in=asked.cases)
    return cases.filter(split=asked.split) if asked.split else cases


def _expected_tokens(asked: Asked, parameters: Mapping[str, Any], keys: Sequence[int]) -> tuple[int, int]:
    """Tokens of a usual request and a usual answer: as measured where this version has been run on this model, else by
    the prompt's own length, some cases' variables and expected answers."""
    measured = Result.objects.filter(run__version=asked.version, run__model=asked.model, error="", tokens_in__gt=0)
    newest = Result.objects.filter(pk__in=measured.order_by("-id").values("pk")[:SAMPLE])
    found = newest.aggregate(given=Avg("tokens_in"), said=Avg("tokens_out"), n=Count("pk"))
    if found["n"] >= LEAST_MEASURED:
        return round(found["given"]), max(1, round(found["said"]))
    step = max(1, len(keys) // SAMPLE)
    sample = Case.objects.filter(pk__in=keys[::step][:SAMPLE]).values_list("variables", "expected")
    name = asked.model.name
    given = [tokens.count("\n".join(map(str, variables.values())), name).tokens for variables, _ in sample]
    said = [tokens.count(str(expected), name).tokens for _, expected in sample if expected is not None]
    own = asked.version.tokens + round(sum(given) / max(1, len(given)))
    model = {**asked.version.content.get("model", {}), **parameters}
    most = model.get("max_tokens") or model.get("max_completion_tokens") or USUAL_ANSWER_TOKENS
    longest = most if isinstance(most, int) else USUAL_ANSWER_TOKENS
    usual = max(1, round(sum(said) / len(said))) if said else longest
    return own, min(usual, longest) if isinstance(most, int) else usual


def read_parameters(given: object, faults: list[Fault]) -> dict[str, Any]:
    """A run's own model settings; what is wrong with them is added to `faults`."""
    if not isinstance(given, Mapping) or len(given) > LONGEST_PARAMETERS:
        faults.append(Fault("/parameters", "type", "Must be an object of model settings."))
        return {}
    sentence = f"A run sets: {', '.join(sorted(PARAMETERS))}."
    unknown = [name for name in given if name not in PARAMETERS]
    faults.extend(Fault(f"/parameters/{name}", "unknown", sentence) for name in unknown)
    own: list[Fault] = []
    found = plain({name: value for name, value in given.items() if name in PARAMETERS}, own)
    faults.extend(replace(fault, pointer=f"/parameters{fault.pointer}") for fault in own)
    if faults or not isinstance(found, dict):
        return {}
    try:
        normalise({"kind": "text", "text": "x", "model": found})
    except Problem as problem:
        its = (fault for fault in problem.faults if fault.pointer.startswith("/model/"))
        faults.extend(replace(fault, pointer=f"/parameters{fault.pointer.removeprefix('/model')}") for fault in its)
    return found


def read_budget(given: object, faults: list[Fault]) -> Decimal | None:
    if given in (None, ""):
        return None
    try:
        found = Decimal(str(given))
    except ArithmeticError:
        found = Decimal(-1)
    if not found.is_finite() or not 0 < found <= LARGEST_BUDGET:
        faults.append(Fault("/budget_usd", "range", f"Must be US dollars, above 0 and at most {LARGEST_BUDGET:,}."))
        return None
    return round(found, 6)
