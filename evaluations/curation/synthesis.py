"""Synthetic cases: a stronger model writes what is missing, and a person takes it in or turns it away.

Each call asks for a few cases and shows some of the training side. What comes back is checked as any proposal is, held
against the cases that are there, and carries its origin.
"""

import random
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from core.json_values import LONGEST_NAME
from evaluations.curation import proposals, synthesis_prompt
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.cases import read_case
from evaluations.models import SYNTHESIS_OPEN, Case, Dataset, ProviderModel, Split, Synthesis, SynthesisState
from evaluations.providers import configuration as providers
from evaluations.providers import rate_limits
from evaluations.providers.chat import CallError, ChatRequest, Completion
from evaluations.runs import planning
from infra import work as attempts
from registry.accounts import api_keys, audit
from registry.accounts.permissions import Actor, Right

MOST = 200
MOST_OPEN = 5
MOST_VARIABLES = 20
LONGEST_ABOUT = 4_000
CASES_A_CALL = 5
SHOWN = 6
# Of a label with fewer than this share of what the commonest has, more are asked for.
RARE_SHARE = 0.5
MOST_RARE = 8
TEMPERATURE = 1.0
TOKENS_A_CASE = 400
SILENCE = timedelta(minutes=3)


@transaction.atomic
def start(
    actor: Actor,
    dataset: Dataset,
    *,
    model: ProviderModel,
    wanted: object,
    about: str = "",
    variables: Sequence[str] = (),
    budget_usd: object = None,
) -> Synthesis:
    """Leave it to a worker to have a model write cases. An empty dataset needs `about` and the names of `variables`."""
    actor.require(Right.EDIT)
    faults: list[Fault] = []
    budget = planning.read_budget(budget_usd, faults)
    count = wanted if isinstance(wanted, int) and not isinstance(wanted, bool) else 0
    if not 1 <= count <= MOST:
        faults.append(Fault("/count", "range", f"Must be a whole number from 1 to {MOST}."))
    if len(about) > LONGEST_ABOUT or "\0" in about:
        faults.append(Fault("/about", "length", f"Must be text of at most {LONGEST_ABOUT:,} characters."))
    there = datasets.variable_names(dataset.head) if dataset.head else []
    names = list(dict.fromkeys(name.strip() for name in variables if name.strip())) or there
    if not names or len(names) > MOST_VARIABLES or max(map(len, names)) > LONGEST_NAME or "\0" in "".join(names):
        faults.append(Fault("/variables", "count", f"Name the variables that a case has, 1 to {MOST_VARIABLES}."))
    if not dataset.head and not about.strip():
        faults.append(Fault("/about", "required", "The dataset is empty: say what its cases are about."))
    if budget is not None and providers.price_of(model) is None:
        faults.append(Fault("/budget_usd", "price", f"Nobody has said what {model} costs, so no budget can be kept."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    if dataset.archived_at:
        raise Problem("dataset.archived", f"{dataset.name} is archived; restore it to change it.")
    providers.require_usable(model)
    if Synthesis.objects.filter(dataset=dataset, state__in=SYNTHESIS_OPEN).count() >= MOST_OPEN:
        raise Problem("synthesis.too_many", f"{MOST_OPEN} are under way for {dataset.name}; wait for one.")
    made = Synthesis.objects.create(
        dataset=dataset,
        model=model,
        wanted=count,
        about=about,
        variables=names,
        budget_usd=budget,
        by=actor.user,
        by_key=actor.key,
        by_name=actor.name,
    )
    audit.record(actor, "synthesis.started", made, after={"model": str(model), "count": count})
    return made


def loaded() -> QuerySet[Synthesis]:
    """Syntheses with what they are about."""
    return Synthesis.objects.select_related(
        "dataset__project", "dataset__head", "model__provider", "by", "by_key__project"
    )


def numbered(dataset: Dataset, number: int) -> Synthesis:
    """The dataset's synthesis with this number, or `synthesis.not_found`."""
    found = loaded().filter(dataset=dataset, pk=number).first()
    if found is None:
        raise Problem("synthesis.not_found", f"{dataset.name} has no synthesis {number}.")
    return found


def open_work() -> QuerySet[Synthesis]:
    """What waits for a worker, or was left by one that died."""
    dead = timezone.now() - SILENCE
    mine = Q(state=SynthesisState.PENDING) | Q(state=SynthesisState.RUNNING, beat_at__lt=dead)
    return loaded().filter(mine).order_by("id")


def perform(work: Synthesis) -> None:
    """Have the model write; does nothing where another worker does. What was proposed before stays and counts."""
    taken = {"state": SynthesisState.RUNNING, "beat_at": timezone.now(), "attempts": F("attempts") + 1}
    if open_work().filter(pk=work.pk).update(**taken) != 1:
        return
    work.refresh_from_db(fields=["attempts", "proposed", "calls", "cost_usd"])
    attempts.carry_out(
        work,
        lambda: _end(work, _write(work)),
        lambda sentence: _end(work, SynthesisState.FAILED, sentence),
    )


def _end(work: Synthesis, state: SynthesisState, error: str = "") -> None:
    mine = Synthesis.objects.filter(pk=work.pk, attempts=work.attempts, state=SynthesisState.RUNNING)
    mine.update(state=state, error=error, finished_at=timezone.now())


def _write(work: Synthesis) -> SynthesisState:
    # Imported here: the client is for workers.
    from evaluations.providers.concurrency import Caller  # noqa: PLC0415
    from evaluations.providers.openai_chat import connected  # noqa: PLC0415

    actor = api_keys.starter(work, work.dataset.project)
    actor.require(Right.EDIT)
    provider = work.model.provider
    reached, allowed = providers.endpoint(provider), providers.destinations()
    most_calls = 2 * -(-work.wanted // CASES_A_CALL)
    with Caller(lambda: connected(reached, allowed), 1) as caller:
        while work.proposed < work.wanted and work.calls < most_calls:
            if work.budget_usd is not None and (work.cost_usd or Decimal(0)) >= work.budget_usd:
                return SynthesisState.STOPPED
            count = min(CASES_A_CALL, work.wanted - work.proposed)
            turn = rate_limits.reserve(provider, requests=1, tokens=count * TOKENS_A_CASE).timestamp()
            key = f"cuebook-synthesis-{work.pk}-{work.calls + 1}"
            try:
                answer = caller.submit(_request(work, count), key=key, not_before=turn).result()
            except CallError as error:
                raise Problem("synthesis.no_cases", error.detail) from error
            if not _keep(actor, work, answer, count):
                # Somebody else has it.
                return SynthesisState.RUNNING
    if work.proposed == 0:
        raise Problem("synthesis.no_cases", f"{work.model} answered {work.calls} times, and none of it was a case.")
    return SynthesisState.DONE


def _request(work: Synthesis, count: int) -> ChatRequest:
    """Another choice of examples each time, the same for the same call."""
    lot = random.Random(f"{work.pk} {work.calls}")  # noqa: S311 - no secret
    head = work.dataset.head
    keys_there: list[int] = []
    labels: Counter[str] = Counter()
    if head:
        train = Case.objects.of(head).filter(split=Split.TRAIN)
        rows = list(train.order_by("id").values_list("pk", "label"))
        keys_there, labels = [key for key, _ in rows], Counter(label for _, label in rows if label)
    chosen = lot.sample(keys_there, min(SHOWN, len(keys_there)))
    found = Case.objects.in_bulk(chosen)
    shown = [{"variables": found[key].variables, "expected": found[key].expected} for key in chosen]
    expected = next((one["expected"] for one in shown if one["expected"] is not None), None)
    asked = synthesis_prompt.messages(
        about=work.about, variables=work.variables, shown=shown, rare=_rare(labels), count=count
    )
    form = synthesis_prompt.response_format(work.variables, expected)
    return ChatRequest(work.model.name, asked, {"temperature": TEMPERATURE}, form)


def _rare(labels: Counter[str]) -> list[str]:
    most = max(labels.values(), default=0)
    few = [label for label, count in labels.items() if count < RARE_SHARE * most]
    return sorted(few, key=lambda label: (labels[label], label))[:MOST_RARE]


@transaction.atomic
def _keep(actor: Actor, work: Synthesis, answer: Completion, count: int) -> bool:
    """Propose what is a case, and count all of it; whether the work is still this worker's."""
    mine = Synthesis.objects.filter(pk=work.pk, attempts=work.attempts, state=SynthesisState.RUNNING)
    row = mine.select_for_update().first()
    if row is None:
        return False
    given = synthesis_prompt.read(answer.text, count)
    cases = [one for one in given if _is_case(one, work.variables)]
    price = providers.price_of(work.model)
    row.calls += 1
    row.proposed += len(cases)
    row.refused += len(given) - len(cases) + (not given)
    if price:
        cost = price.of(answer.tokens_in, answer.tokens_cached, answer.tokens_out)
        row.cost_usd = (row.cost_usd or Decimal(0)) + cost
    row.beat_at = timezone.now()
    row.save(update_fields=["calls", "proposed", "refused", "cost_usd", "beat_at"])
    if cases:
        origin = f"made up by {work.model} (synthesis {work.pk})"[: proposals.LONGEST_ORIGIN]
        proposals.propose(actor, work.dataset, cases=cases, origin=origin)
    work.calls, work.proposed, work.cost_usd = row.calls, row.proposed, row.cost_usd
    return True


def _is_case(document: Any, variables: Sequence[str]) -> bool:
    faults: list[Fault] = []
    return read_case(document, faults) is not None and set(document["variables"]) <= set(variables)
