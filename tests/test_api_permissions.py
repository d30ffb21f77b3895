"""Permissions of the whole API: every address of every app, as the URL resolver has it. A new one joins by itself.

What each verb needs is in tests/registry/accounts/test_permissions.py; here is what holds for all of them.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest
from django.apps import apps
from django.db import models, transaction
from django.db.models import NOT_PROVIDED, Model
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from rest_framework.permissions import SAFE_METHODS
from rest_framework.test import APIClient

from evaluations.datasets import lifecycle as datasets
from evaluations.models import Case
from inference.calls import storage
from inference.experiments import lifecycle as experiments
from registry.accounts import invitations
from registry.accounts.permissions import Actor, Right
from registry.api.base import ProjectView
from registry.examples import example_sets
from registry.images import uploads
from registry.models import APIKey, PromptVersion, Role
from registry.promotions import environments, workflow
from registry.promotions.environments import Rules
from registry.retrieval import collections, documents
from tests.conftest import ApiFor, Stage
from tests.image_files import png

ROOT = "api/v1/"
VERBS = ("get", "options", "post", "put", "patch", "delete")
# Addresses that answer strangers, and the reason.
PUBLIC = {"schema": "the contract is public", "docs": "the contract is public"}
# Addresses that every actor of a project can read, and the reason.
OPEN = {"me": "a key that may not read can still read its own rights"}
# Addresses with a POST for which the right to see is enough, and the reason.
READING_POSTS = {
    "prompts/batch": "fetches many versions",
    "prompts/<str:name>/versions/<str:selector>/render": "renders with variables",
    "example-sets/<str:name>/search": "searches by a text",
    "collections/<str:name>/search": "searches by a text",
    "evaluations/estimate": "starts nothing",
    "sweeps/estimate": "starts nothing",
    "training-sets/<int:key>/estimate": "creates nothing",
    "strategy/recommendations": "is saved with its evidence for people, and refused to keys that may only read",
}
# The address to which a key can send calls that can do nothing else.
OBSERVING_POSTS = {
    "observations": "records live calls",
    "calls": "records live calls",
    "feedback": "records what is learned of calls; editors may as well",
}
# Verbs on an address by which an outsider reaches something of the own project, and the reason.
OWN = {
    ("put", "members/<str:username>"): "users are the same for all projects; it adds one to the outsider's",
    ("delete", "members/<str:username>"): "removes a user from the outsider's project",
    ("put", "inference-configs/<str:task>"): "creates the outsider's own config of that name",
    ("put", "experiments/<str:name>"): "creates the outsider's own experiment of that name",
    ("delete", "subjects/<path:subject>"): "deletes what the outsider's project has of that subject: nothing",
}
# An address that does not say 404 of what other projects have, nor of what nobody has, and the code that it says.
OTHER_CODES: dict[tuple[str, str], tuple[int, str]] = {}
# What an address has to be asked with to have an answer here.
QUERIES = {"inference-configs/<str:task>": "selector=latest"}


def api_views(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, type[ProjectView]]]:
    for pattern in resolver.url_patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            if address.startswith(ROOT):
                yield address.removeprefix(ROOT), pattern.callback.cls  # type: ignore[attr-defined]  # set by as_view
        elif ROOT.startswith(address) or address.startswith(ROOT):
            yield from api_views(pattern, address)


VIEWS = {address: view for address, view in api_views(get_resolver()) if address not in PUBLIC}


def verbs_of(view: type[ProjectView]) -> list[str]:
    return [verb for verb in VERBS if hasattr(view, verb)]


def is_safe(verb: str) -> bool:
    return verb.upper() in SAFE_METHODS


# --- Requests that are well formed, from the OpenAPI document --------------------------------------------------------


@cache
def schema() -> dict[str, Any]:
    document: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return document


def operation(verb: str, address: str) -> dict[str, Any]:
    path = "/".join(
        "{" + part.strip("<>").partition(":")[2] + "}" if part.startswith("<") else part for part in address.split("/")
    )
    operations: dict[str, dict[str, Any]] = schema()["paths"].get(f"/{ROOT}{path}", {})
    return operations.get(verb, {})


def example(fragment: Mapping[str, Any], *, is_whole: bool = False) -> Any:
    """Return the smallest value that a schema allows, or, `is_whole`, one with all members."""
    if "$ref" in fragment:
        return example(schema()["components"]["schemas"][fragment["$ref"].rpartition("/")[2]], is_whole=is_whole)
    for choice in ("allOf", "oneOf", "anyOf"):
        if choice in fragment:
            return example(fragment[choice][0])
    if "enum" in fragment:
        return fragment["enum"][0]
    kind = fragment.get("type")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            members = fragment.get("properties", {})
            names = members if is_whole else fragment.get("required", ())
            return {name: example(members[name]) for name in names}
        case "array":
            return [example(fragment["items"])] * fragment.get("minItems", 0)
        case "integer" | "number":
            return fragment.get("minimum", 1)
        case "boolean":
            return False
        case "string" if fragment.get("format") == "decimal":
            return "1"
        case "string" if fragment.get("format") == "date-time":
            return "2030-01-01T00:00:00Z"
        case "string":
            return "a"
        case _:
            return {}


def send(client: APIClient, verb: str, address: str, things: Mapping[str, Any] | None = None) -> tuple[int, str]:
    """Send a request that is well formed; what it changes is undone. Returns its status and its problem's code."""
    described = operation(verb, address)
    required = [parameter for parameter in described.get("parameters", ()) if parameter.get("required")]
    query = "&".join(f"{parameter['name']}=1" for parameter in required if parameter["in"] == "query")
    query = QUERIES.get(address, query)
    bodies = described.get("requestBody", {}).get("content", {})
    options: dict[str, Any] = {}
    if "application/octet-stream" in bodies:
        options = {"data": b"a", "content_type": "application/octet-stream"}
    elif not is_safe(verb):
        # What a PATCH must not leave out is not in the document.
        body = example(next(iter(bodies.values()))["schema"], is_whole=verb == "patch") if bodies else {}
        options = {"data": body, "format": "json"}
    with transaction.atomic():
        response = getattr(client, verb)(f"/{ROOT}{filled(address, things)}?{query}", **options)
        transaction.set_rollback(True)
    is_problem = response.status_code >= 400 and response["Content-Type"] == "application/problem+json"
    return response.status_code, response.json()["code"] if is_problem else ""


def filled(address: str, things: Mapping[str, Any] | None) -> str:
    """Return an address with the names and numbers of things in place of its parameters."""
    parts = address.split("/")
    for index, part in enumerate(parts):
        if part.startswith("<"):
            until_here = "/".join(address.split("/")[: index + 1])
            names = ["1"] if things is None else [str(things[end]) for end in things if until_here.endswith(end)]
            assert names, f"Put a thing for {until_here} into the scene below."
            parts[index] = names[0]
    return "/".join(parts)


# --- A project with one of everything --------------------------------------------------------------------------------


def create_row(rows: dict[type[Model], Model], label: str, **members: Any) -> Any:
    """Insert a row with just what its table requires. What it refers to is taken from the rows, or inserted as well."""
    model = apps.get_model(label)
    for field in model._meta.concrete_fields:
        has_value = field.has_default() or field.db_default is not NOT_PROVIDED or field.null or field.blank
        if field.name in members or has_value or field.primary_key:
            continue
        if isinstance(field, models.ForeignKey):
            related = field.related_model
            assert isinstance(related, type)
            members[field.name] = rows.get(related) or create_row(rows, related._meta.label)
        else:
            members[field.name] = _plain_value(field)
    row = model._default_manager.create(**members)
    rows.setdefault(model, row)
    return row


def _plain_value(field: "models.Field[Any, Any]") -> Any:
    if field.choices:
        return next(iter(field.flatchoices))[0]
    match field:
        case models.BooleanField():
            return False
        case models.IntegerField() | models.FloatField() | models.DecimalField():
            return 1
        case models.JSONField():
            return {}
        case models.DateField():
            return timezone.now()
        case models.CharField() | models.TextField():
            return "a"
        case _:
            return []


def create_call(version: PromptVersion, *, reference: str) -> str:
    members: dict[str, Any] = {"project": version.prompt.project_id, "version": version.pk, "subject": "user-17"}
    storage.store([storage.new_call(**members, environment="production", reference=reference, at=timezone.now())])
    return reference


@pytest.fixture
def things(stage: Stage, api_for: ApiFor) -> dict[str, Any]:
    """One of everything that an address names, by the end of the address up to its parameter."""
    prompt = stage.prompt("support.route")
    version = stage.commit(prompt, "Sort the ticket.")
    canary = environments.create(stage.ada, name="canary", rules=Rules(True, 1, ()))
    promotion = workflow.request(stage.edith, prompt, version, canary)
    shots = example_sets.create(stage.edith, name="support.shots")
    shot_version = example_sets.commit(stage.edith, shots, examples=[{"input": "a", "output": "b"}]).version
    tickets = datasets.create(stage.edith, name="support.tickets")
    datasets.change(stage.edith, tickets, added=[{"variables": {"ticket": "a"}, "expected": "b"}])
    config = {"strategy": "prompt", "model": "a", "prompt": "support.route@1"}
    api = api_for(stage.edith, scopes=["write"])
    assert api.put(f"/{ROOT}inference-configs/routing", {"config": config}).status_code == 200

    stage.release(version, "staging")
    stage.commit(prompt, "Sort the ticket shortly.")
    arms = [{"version": "support.route@2", "weight": 50}]
    trial = {"prompt": prompt.name, "baseline": "support.route@1", "arms": arms, "primary": {"metric": "score"}}
    assert api.put(f"/{ROOT}experiments/shorter", {"experiment": trial}).status_code == 200
    experiment = experiments.get_experiment(stage.project, "shorter")
    staging = stage.environment("staging")
    experiment_release = workflow.apply(stage.edith, experiments.propose(stage.edith, experiment, staging))

    rows: dict[type[Model], Model] = {
        type(row): row
        for row in (
            stage.project,
            prompt,
            version,
            canary,
            tickets,
            datasets.get_version(stage.project, tickets.name, "1"),
        )
    }
    rows[Case] = Case.objects.get(dataset=tickets)
    monitor = create_row(rows, "inference.Monitor")
    provider = create_row(rows, "evaluations.Provider", name="sandbox")
    for kind in ("readiness", "leakage"):
        create_row(rows, "evaluations.Report", kind=kind, state="done")
    run = create_row(rows, "evaluations.Run")
    comparison = create_row(rows, "evaluations.Comparison", margin=0.02)
    create_row(rows, "evaluations.ComparisonRun", comparison=comparison)
    training_set = create_row(rows, "finetunes.TrainingSet", state="done")
    create_row(rows, "finetunes.TrainingFile", file="train", data=b"")
    recommended: dict[str, Any] = {"payback_months": None, "reasons": []}
    handbook = collections.create(stage.edith, name="handbook")
    documents.put(stage.edith, handbook, "a.md", b"# A")
    key = APIKey.objects.filter(project=stage.project).first()
    assert key
    return {
        "example-sets/<str:name>": shots.name,
        "example-sets/versions/<str:hash>": shot_version.content_hash,
        "versions/<str:hash>": version.content_hash,
        "prompts/<str:name>": prompt.name,
        "versions/<str:selector>": 1,
        "images/<str:sha256>": uploads.upload(stage.edith, png())[0].sha256,
        "environments/<str:environment>": canary.name,
        "promotions/<int:number>": promotion.pk,
        "members/<str:username>": "vera",
        "invitations/<int:number>": invitations.invite(stage.ada, username="nora", role=Role.VIEWER).pk,
        "keys/<str:key_id>": key.key_id,
        "datasets/<str:name>": tickets.name,
        "imports/<int:key>": create_row(rows, "evaluations.DatasetImport").pk,
        "parts/<int:part>": 1,
        "syntheses/<int:key>": create_row(rows, "evaluations.Synthesis").pk,
        "rounds/<int:key>": create_row(rows, "evaluations.AnnotationRound").pk,
        "providers/<str:name>": provider.name,
        "evaluations/<int:key>": run.pk,
        "results/<int:result>": create_row(rows, "evaluations.Result").pk,
        "playground-runs/<int:key>": create_row(rows, "evaluations.PlaygroundRun", version=version).pk,
        "answers/<int:answer>": create_row(rows, "evaluations.PlaygroundAnswer").pk,
        "comparisons/<int:key>": comparison.pk,
        "gates/<int:key>": create_row(rows, "evaluations.Gate").pk,
        "monitors/<int:key>": monitor.pk,
        "alerts/<int:key>": create_row(rows, "inference.Alert", calls=1, monitor=monitor).pk,
        "experiments/<str:name>": experiment.name,
        "experiment-runs/<int:key>": experiment_release.experiment_run.pk,
        "inference-configs/<str:task>": "routing",
        "collections/<str:name>": handbook.name,
        "documents/<path:path>": "a.md",
        "calls/<path:reference>": create_call(version, reference="7f3c"),
        "subjects/<path:subject>": "user-17",
        "training-sets/<int:key>": training_set.pk,
        "files/<str:file>": "train",
        "cross-validations/<int:key>": create_row(rows, "finetunes.CrossValidation", folds=2).pk,
        "fine-tunes/<int:key>": create_row(rows, "finetunes.FineTune").pk,
        "tuned-models/<int:key>": create_row(rows, "finetunes.TunedModel").pk,
        "recommendations/<int:key>": create_row(
            rows, "finetunes.StrategyRecommendation", policy="default", result=recommended
        ).pk,
    }


# --- The rules -------------------------------------------------------------------------------------------------------


def test_every_view_is_closed_by_default():
    assert len(VIEWS) > 100
    assert {address for address, view in VIEWS.items() if not issubclass(view, ProjectView)} == set()
    assert {address for address, view in VIEWS.items() if view.read_right is None} == set(OPEN)
    assert {address for address, view in VIEWS.items() if view.write_right is None} == set()
    assert {address for address, view in VIEWS.items() if view.write_right == Right.SEE} == set(READING_POSTS)
    assert {address for address, view in VIEWS.items() if view.write_right == Right.OBSERVE} == set(OBSERVING_POSTS)


def test_a_stranger_is_refused_everywhere(db: None):
    client = APIClient()

    answers = {(verb, address): send(client, verb, address) for address in VIEWS for verb in VERBS}

    assert {call: answer for call, answer in answers.items() if answer != (401, "auth.required")} == {}


def test_an_observe_key_only_sends_calls(stage: Stage, things: dict[str, Any], api_for: ApiFor):
    client = api_for(stage.vera, scopes=["observe"])
    allowed = {*((verb, address) for address in OPEN for verb in ("get", "options"))}
    allowed |= {("post", address) for address in OBSERVING_POSTS}

    answers = {
        (verb, address): send(client, verb, address, things)
        for address, view in VIEWS.items()
        for verb in verbs_of(view)
    }

    assert {call: answer for call, answer in answers.items() if answer[0] < 300}.keys() <= allowed
    refused = {call: answer for call, answer in answers.items() if call not in allowed}
    assert {call: answer for call, answer in refused.items() if answer != (403, "access.denied")} == {}


@pytest.mark.parametrize("who", ["viewer", "key: read"])
def test_who_may_only_see_changes_nothing(who: str, stage: Stage, things: dict[str, Any], api_for: ApiFor):
    client = api_for(stage.vera, scopes=None if who == "viewer" else ["read"])
    unsafe = [(verb, address) for address in VIEWS for verb in VERBS if not is_safe(verb)]

    answers = {call: send(client, *call, things) for call in unsafe}

    refused = {call: answer for call, answer in answers.items() if call[0] != "post" or call[1] not in READING_POSTS}
    assert {call: answer for call, answer in refused.items() if answer[0] not in {403, 404, 405}} == {}
    assert {code for status, code in refused.values() if status == 403} == {"access.denied"}


def test_things_of_other_projects_are_not_found(stage: Stage, things: dict[str, Any], otis: Actor, api_for: ApiFor):
    named = [(verb, address) for address, view in VIEWS.items() if "<" in address for verb in verbs_of(view)]
    named = [call for call in named if call[0] != "options"]
    # What an outsider must not find is there for who belongs to the project.
    ada, outsider = api_for(stage.ada), api_for(otis)
    missing = {call: answer for call in named if call[0] == "get" and (answer := send(ada, *call, things))[0] == 404}

    answers = {call: send(outsider, *call, things) for call in named if call not in OWN}

    assert missing == {}
    assert {call: answer for call, answer in answers.items() if answer[0] != 404} == OTHER_CODES


def test_every_exception_is_an_address():
    assert {*OPEN, *READING_POSTS, *OBSERVING_POSTS, *(address for _, address in (*OWN, *OTHER_CODES))} <= VIEWS.keys()


def test_addresses_take_the_parameters_of_their_document_and_no_others(
    stage: Stage, things: dict[str, Any], api_for: ApiFor
):
    """A filter with a typing error must not list everything."""
    client = api_for(stage.ada)
    wrong = {}
    for address in VIEWS:
        if not (described := operation("get", address)):
            continue
        documented = {parameter["name"] for parameter in described.get("parameters", ()) if parameter["in"] == "query"}
        answer = client.get(f"/{ROOT}{filled(address, things)}?statte=done")
        sentence = f"This address takes: {', '.join(sorted({*documented, 'project'}))}."
        expected = [{"pointer": "?statte", "code": "unknown", "message": sentence}]
        if (answer.status_code, answer.json().get("errors")) != (400, expected):
            wrong[address] = answer.json()

    assert wrong == {}
