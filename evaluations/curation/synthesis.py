"""Synthetic cases: a stronger model writes missing cases, and a user accepts or rejects them.

Each call asks for a few cases and shows some of the train split. The answers become proposals, which are compared with
the existing cases and carry their origin.
"""

import random
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from core.errors import Fault, Problem
from core.json_values import MAX_MEMBER_NAME
from evaluations.curation import proposals, synthesis_prompt
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.cases import read_case
from evaluations.models import SYNTHESIS_OPEN, Case, Dataset, ProviderModel, Split, Synthesis, SynthesisState
from evaluations.providers import configuration as providers
from evaluations.providers import profiles, rate_limits
from evaluations.providers.chat import CallError, ChatRequest, Completion
from evaluations.runs import planning
from infra import work
from infra.work import Lease
from registry.accounts import api_keys, audit
from registry.accounts.permissions import Actor, Right

MAX_CASES = 200
MAX_OPEN = 5
MAX_VARIABLES = 20
MAX_ABOUT_LENGTH = 4_000
CASES_A_CALL = 5
EXAMPLES_SHOWN = 6
# More cases are requested of labels with fewer than this share of the most frequent label's cases.
RARE_SHARE = 0.5
MAX_RARE_LABELS = 8
TOKENS_A_CASE = 400


@transaction.atomic
def start(
    actor: Actor,
    dataset: Dataset,
    *,
    model: ProviderModel,
    requested: object,
    about: str = "",
    variables: Sequence[str] = (),
    budget_usd: object = None,
) -> Synthesis:
    """Have a worker ask a model for cases. An empty dataset needs `about` and the names of `variables`."""
    actor.require(Right.EDIT)
    faults: list[Fault] = []
    budget = planning.read_budget(budget_usd, faults)
    count = requested if isinstance(requested, int) and not isinstance(requested, bool) else 0
    if not 1 <= count <= MAX_CASES:
        faults.append(Fault("/count", "range", f"Must be a whole number from 1 to {MAX_CASES}."))
    if len(about) > MAX_ABOUT_LENGTH or "\0" in about:
        faults.append(Fault("/about", "length", f"Must be text of at most {MAX_ABOUT_LENGTH:,} characters."))
    existing_names = datasets.variable_names(dataset.head) if dataset.head else []
    names = list(dict.fromkeys(name.strip() for name in variables if name.strip())) or existing_names
    if not names or len(names) > MAX_VARIABLES or max(map(len, names)) > MAX_MEMBER_NAME or "\0" in "".join(names):
        faults.append(Fault("/variables", "count", f"Name the variables that a case has, 1 to {MAX_VARIABLES}."))
    if not dataset.head and not about.strip():
        faults.append(Fault("/about", "required", "The dataset is empty: say what its cases are about."))
    if budget is not None and providers.price_of(model) is None:
        faults.append(Fault("/budget_usd", "price", f"{model} has no price, so a budget cannot be kept."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    if dataset.archived_at:
        raise Problem("dataset.archived", f"{dataset.name} is archived; restore it to change it.")
    providers.require_usable(model)
    if Synthesis.objects.filter(dataset=dataset, state__in=SYNTHESIS_OPEN).count() >= MAX_OPEN:
        raise Problem("synthesis.too_many", f"{MAX_OPEN} are running for {dataset.name}; wait for one.")
    synthesis = Synthesis.objects.create(
        dataset=dataset,
        model=model,
        requested=count,
        about=about,
        variables=names,
        budget_usd=budget,
        by=actor.user,
        by_key=actor.key,
        by_name=actor.name,
    )
    audit.record(actor, "synthesis.started", synthesis, after={"model": str(model), "count": count})
    return synthesis


def syntheses_with_related() -> QuerySet[Synthesis]:
    """Return syntheses with their related rows."""
    return Synthesis.objects.select_related(
        "dataset__project", "dataset__head", "model__provider", "by", "by_key__project"
    )


def get_synthesis(dataset: Dataset, number: int) -> Synthesis:
    """Return the dataset's synthesis with this number, or raise `synthesis.not_found`."""
    synthesis = syntheses_with_related().filter(dataset=dataset, pk=number).first()
    if synthesis is None:
        raise Problem("synthesis.not_found", f"{dataset.name} has no synthesis {number}.")
    return synthesis


def claimable_syntheses() -> QuerySet[Synthesis]:
    """Return what waits for a worker, or was left by one that went silent."""
    return syntheses_with_related().filter(Synthesis.claimable()).order_by("id")


def write_cases(synthesis: Synthesis) -> None:
    """Have the model write cases; does nothing where another worker does. Earlier proposals stay and count."""
    lease = work.claim(synthesis)
    if lease:
        synthesis.refresh_from_db(fields=["proposed", "refused", "calls", "cost_usd"])
        work.run(lease, lambda: lease.finish(_write(lease)))


def _write(lease: Lease[Synthesis]) -> SynthesisState:
    synthesis = lease.item
    # Imported here: the client is for workers.
    from evaluations.providers import slots  # noqa: PLC0415
    from evaluations.providers.protocols import open_chat  # noqa: PLC0415

    actor = api_keys.actor_for_work(synthesis, synthesis.dataset.project)
    actor.require(Right.EDIT)
    provider = synthesis.model.provider
    reached, allowed = providers.endpoint(provider), providers.destinations()
    max_calls = 2 * -(-synthesis.requested // CASES_A_CALL)
    with slots.open_caller(provider, lambda: open_chat(reached, allowed), most=1) as caller:
        while synthesis.proposed < synthesis.requested and synthesis.calls < max_calls:
            if synthesis.budget_usd is not None and (synthesis.cost_usd or Decimal(0)) >= synthesis.budget_usd:
                return SynthesisState.STOPPED
            count = min(CASES_A_CALL, synthesis.requested - synthesis.proposed)
            not_before = rate_limits.reserve(provider, requests=1, tokens=count * TOKENS_A_CASE).timestamp()
            key = f"cuebook-synthesis-{synthesis.pk}-{synthesis.calls + 1}"
            try:
                answer = caller.submit(_request(synthesis, count), key=key, not_before=not_before).result()
            except CallError as error:
                raise Problem("synthesis.no_cases", error.detail) from error
            _propose(actor, lease, answer, count)
    if synthesis.proposed == 0:
        raise Problem(
            "synthesis.no_cases", f"{synthesis.model} answered {synthesis.calls} times, and none of it was a case."
        )
    return SynthesisState.DONE


def _request(synthesis: Synthesis, count: int) -> ChatRequest:
    """Build a request with another choice of examples each time, but the same for the same call."""
    rng = random.Random(f"{synthesis.pk} {synthesis.calls}")  # noqa: S311 - no secret
    head = synthesis.dataset.head
    train_keys: list[int] = []
    labels: Counter[str] = Counter()
    if head:
        train = Case.objects.of(head).filter(split=Split.TRAIN)
        rows = list(train.order_by("id").values_list("pk", "label"))
        train_keys, labels = [key for key, _ in rows], Counter(label for _, label in rows if label)
    example_keys = rng.sample(train_keys, min(EXAMPLES_SHOWN, len(train_keys)))
    example_cases = Case.objects.in_bulk(example_keys)
    examples = [
        {"variables": example_cases[key].variables, "expected": example_cases[key].expected} for key in example_keys
    ]
    expected = next((example["expected"] for example in examples if example["expected"] is not None), None)
    messages = synthesis_prompt.messages(
        about=synthesis.about, variables=synthesis.variables, examples=examples, rare=_rare(labels), count=count
    )
    form = synthesis_prompt.response_format(synthesis.variables, expected)
    # At its usual temperature, which is what makes cases differ; newer models take no other.
    return ChatRequest(synthesis.model.name, messages, {}, form, profile=profiles.profile_of(synthesis.model))


def _rare(labels: Counter[str]) -> list[str]:
    most = max(labels.values(), default=0)
    few = [label for label, count in labels.items() if count < RARE_SHARE * most]
    return sorted(few, key=lambda label: (labels[label], label))[:MAX_RARE_LABELS]


@transaction.atomic
def _propose(actor: Actor, lease: Lease[Synthesis], answer: Completion, count: int) -> None:
    """Propose the valid cases, and count all of them; do nothing where the lease is lost."""
    synthesis = lease.item
    documents = synthesis_prompt.read_cases(answer.text, count)
    cases = [document for document in documents if _is_case(document, synthesis.variables)]
    price = providers.price_of(synthesis.model)
    cost = price.of(answer.usage) if price else None
    lease.save(
        calls=synthesis.calls + 1,
        proposed=synthesis.proposed + len(cases),
        refused=synthesis.refused + len(documents) - len(cases) + (not documents),
        cost_usd=synthesis.cost_usd if cost is None else (synthesis.cost_usd or Decimal(0)) + cost,
    )
    if cases:
        origin = f"made up by {synthesis.model} (synthesis {synthesis.pk})"[: proposals.MAX_ORIGIN_LENGTH]
        proposals.propose(actor, synthesis.dataset, cases=cases, origin=origin)


def _is_case(document: Any, variables: Sequence[str]) -> bool:
    faults: list[Fault] = []
    return read_case(document, faults) is not None and set(document["variables"]) <= set(variables)
