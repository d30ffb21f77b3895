"""The playground over REST: try a version, or content that is not committed, and read what comes."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Fault, Problem
from core.references import Reference, parse_selector
from evaluations import tasks
from evaluations.api import trying as shapes
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Trial
from evaluations.playground import lifecycle as playground
from evaluations.playground.lifecycle import Asked, Input
from evaluations.providers import configuration as providers
from registry.accounts.permissions import Actor, Right
from registry.api.authentication import actor_of
from registry.api.serializers import NothingInput
from registry.examples import example_sets
from registry.models import Prompt
from registry.prompts import lifecycle as prompts
from registry.prompts import resolution
from registry.tasks import start


def trial_document(trial: Trial) -> dict[str, Any]:
    return dict(shapes.TrialSerializer(trial).data)


class TrialList(generics.GenericAPIView[Trial]):
    queryset = Trial.objects.none()
    serializer_class = shapes.TrialSerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(operation_id="trials_list", responses=shapes.TrialSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """What was tried on a prompt in the last days, newest first; of drafts only one's own."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows = playground.seen_by(actor).filter(prompt=prompts.named(actor.project, name)).order_by("-id")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(operation_id="trials_create", request=shapes.TrialInput, responses={201: shapes.TrialSerializer})
    def post(self, request: Request, name: str) -> Response:
        """Ask models what they say to a version or to content that is not committed. Read the trial to see it come."""
        actor = actor_of(request)
        actor.require(Right.EDIT)
        prompt = prompts.named(actor.project, name)
        made = playground.start(actor, prompt, _asked(actor, prompt, shapes.TrialInput.read(request)))
        start(tasks.try_prompt, made.pk)
        headers = {"Location": f"/api/v1/prompts/{name}/trials/{made.pk}"}
        return Response(trial_document(playground.numbered(actor, made.pk)), status=201, headers=headers)


def _asked(actor: Actor, prompt: Prompt, document: dict[str, Any]) -> Asked:
    content = document.get("content")
    if content is None:
        content = resolution.resolve(actor.project, Reference(prompt.name, parse_selector(document["selector"])))
    models = [providers.model_named(actor.project, reference) for reference in document["models"]]
    if not document.get("dataset"):
        return Asked(content, [Input(document["variables"])], models, document["parameters"])
    if document["variables"]:
        sentence = "Give either variables or a dataset."
        raise Problem("request.invalid", sentence, faults=[Fault("/variables", "conflict", sentence)])
    name, _, selector = document["dataset"].partition("@")
    version = datasets.selected(actor.project, name, selector or "latest")
    how = {"keys": document["cases"], "split": document["split"], "count": document["count"]}
    return Asked(content, playground.of_cases(version, **how), models, document["parameters"])


class TrialDetail(APIView):
    @extend_schema(operation_id="trials_read", responses=shapes.TrialSerializer)
    def get(self, request: Request, name: str, key: int) -> Response:
        """A trial with its answers, as far as they have come."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(trial_document(_found(actor, name, key)))


def _found(actor: Actor, name: str, key: int) -> Trial:
    trial = playground.numbered(actor, key)
    if trial.prompt.name != name:
        raise Problem("trial.not_found", f"Trial {key} is not of {name}.")
    return trial


class TrialCancel(APIView):
    @extend_schema(operation_id="trials_cancel", request=NothingInput, responses=shapes.TrialSerializer)
    def post(self, request: Request, name: str, key: int) -> Response:
        """Ask nothing more; what has come stays."""
        actor = actor_of(request)
        return Response(trial_document(playground.cancel(actor, _found(actor, name, key))))


class TrialKeep(APIView):
    @extend_schema(operation_id="trials_keep", request=shapes.KeepInput, responses=shapes.TrialAnswerSerializer)
    def post(self, request: Request, name: str, key: int, answer: int) -> Response:
        """Keep an answer as a case of a dataset, or as an example of an example set."""
        asked = shapes.KeepInput.read(request)
        actor = actor_of(request)
        found = playground.answer_of(_found(actor, name, key), answer)
        if bool(asked.get("dataset")) == bool(asked.get("example_set")):
            sentence = "Name either a dataset or an example set."
            raise Problem("request.invalid", sentence, faults=[Fault("/dataset", "required", sentence)])
        if asked.get("dataset"):
            playground.keep_as_case(actor, found, datasets.named(actor.project, asked["dataset"]))
        else:
            playground.keep_as_example(actor, found, example_sets.named(actor.project, asked["example_set"]))
        kept = playground.answer_of(_found(actor, name, key), answer)
        return Response(shapes.TrialAnswerSerializer(kept).data)
