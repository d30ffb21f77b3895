"""Playground over REST: try a version, or content that is not committed, and read the answers."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Fault, Problem
from core.references import Reference, parse_selector
from evaluations import tasks
from evaluations.api.serializers import playground as serializers
from evaluations.datasets import lifecycle as datasets
from evaluations.models import PlaygroundRun
from evaluations.playground import lifecycle as playground
from evaluations.playground.lifecycle import Input, PlaygroundSettings
from evaluations.providers import configuration as providers
from infra.serializer_fields import EmptyInput
from infra.work import start
from registry.accounts.permissions import Actor
from registry.api.base import ProjectListView, ProjectView
from registry.examples import example_sets
from registry.models import Prompt
from registry.prompts import lifecycle as prompts
from registry.prompts import resolution


def playground_run_document(playground_run: PlaygroundRun) -> dict[str, Any]:
    return dict(serializers.PlaygroundRunSerializer(playground_run).data)


class PlaygroundRunList(ProjectListView[PlaygroundRun]):
    queryset = PlaygroundRun.objects.none()
    serializer_class = serializers.PlaygroundRunSerializer
    ordering = ("-id",)

    @extend_schema(operation_id="playground_runs_list", responses=serializers.PlaygroundRunSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """List a prompt's playground runs of the last days, newest first; of drafts only your own."""
        prompt = prompts.get_prompt(self.actor.project, name)
        return self.page(playground.visible_playground_runs(self.actor).filter(prompt=prompt).order_by("-id"))

    @extend_schema(
        operation_id="playground_runs_create",
        request=serializers.PlaygroundRunInput,
        responses={201: serializers.PlaygroundRunSerializer},
    )
    def post(self, request: Request, name: str) -> Response:
        """Try a version, or content that is not committed, on models. Read the playground run to see the answers."""
        prompt = prompts.get_prompt(self.actor.project, name)
        body = serializers.PlaygroundRunInput.read(request)
        run = playground.start(self.actor, prompt, _settings_from_body(self.actor, prompt, body))
        start(tasks.ask_playground, run.pk)
        headers = {"Location": f"/api/v1/prompts/{name}/playground-runs/{run.pk}"}
        return Response(
            playground_run_document(playground.get_playground_run(self.actor, run.pk)), status=201, headers=headers
        )


def _settings_from_body(actor: Actor, prompt: Prompt, body: dict[str, Any]) -> PlaygroundSettings:
    content = body.get("content")
    if content is None:
        content = resolution.resolve(actor.project, Reference(prompt.name, parse_selector(body["selector"])))
    models = [providers.get_model(actor.project, reference) for reference in body["models"]]
    if not body.get("dataset"):
        return PlaygroundSettings(content, [Input(body["variables"])], models, body["parameters"])
    if body["variables"]:
        sentence = "Give either variables or a dataset."
        raise Problem("request.invalid", sentence, faults=[Fault("/variables", "conflict", sentence)])
    name, _, selector = body["dataset"].partition("@")
    version = datasets.get_version(actor.project, name, selector or "latest")
    picks = {"keys": body["cases"], "split": body["split"], "count": body["count"]}
    return PlaygroundSettings(content, playground.inputs_from_cases(version, **picks), models, body["parameters"])


class PlaygroundRunDetail(ProjectView):
    @extend_schema(operation_id="playground_runs_read", responses=serializers.PlaygroundRunSerializer)
    def get(self, request: Request, name: str, key: int) -> Response:
        """Read a playground run with its answers so far."""
        return Response(playground_run_document(_get_playground_run(self.actor, name, key)))


def _get_playground_run(actor: Actor, name: str, key: int) -> PlaygroundRun:
    playground_run = playground.get_playground_run(actor, key)
    if playground_run.prompt.name != name:
        raise Problem("playground_run.not_found", f"Playground run {key} is not of {name}.")
    return playground_run


class PlaygroundRunCancel(ProjectView):
    @extend_schema(
        operation_id="playground_runs_cancel", request=EmptyInput, responses=serializers.PlaygroundRunSerializer
    )
    def post(self, request: Request, name: str, key: int) -> Response:
        """Cancel a playground run; the answers so far stay."""
        return Response(
            playground_run_document(playground.cancel(self.actor, _get_playground_run(self.actor, name, key)))
        )


class PlaygroundRunKeep(ProjectView):
    @extend_schema(
        operation_id="playground_runs_keep_answer",
        request=serializers.KeepAnswerInput,
        responses=serializers.PlaygroundAnswerSerializer,
    )
    def post(self, request: Request, name: str, key: int, answer: int) -> Response:
        """Propose an answer as a case of a dataset, or save it as an example of an example set."""
        body = serializers.KeepAnswerInput.read(request)
        result = playground.get_answer(_get_playground_run(self.actor, name, key), answer)
        if bool(body.get("dataset")) == bool(body.get("example_set")):
            sentence = "Name either a dataset or an example set."
            raise Problem("request.invalid", sentence, faults=[Fault("/dataset", "required", sentence)])
        if body.get("dataset"):
            dataset = datasets.get_dataset(self.actor.project, body["dataset"])
            playground.save_as_case(self.actor, result, dataset)
            start(tasks.check_proposals, dataset.pk)
        else:
            playground.save_as_example(
                self.actor, result, example_sets.get_example_set(self.actor.project, body["example_set"])
            )
        result = playground.get_answer(_get_playground_run(self.actor, name, key), answer)
        return Response(serializers.PlaygroundAnswerSerializer(result).data)
