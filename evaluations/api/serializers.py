"""The shapes of the API. Input serializers check types only: every rule is in the domain function that is called."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from evaluations.models import (
    AnnotationRound,
    Case,
    CaseProposal,
    Dataset,
    DatasetImport,
    DatasetVersion,
    Finding,
    Report,
    Synthesis,
)
from infra.serializer_fields import Input, ObjectField, Text

ANY_JSON: dict[str, Any] = {}
SHARES_HELP = "Whole percentages of train, validation, test and general; together 100."


@extend_schema_field(ANY_JSON)
class AnyField(serializers.JSONField):
    """Any JSON value."""


# --- Datasets --------------------------------------------------------------------------------------------------------


class DatasetVersionSerializer(serializers.ModelSerializer[DatasetVersion]):
    name = serializers.CharField(source="dataset.name")
    hash = serializers.CharField(source="content_hash")
    splits = ObjectField(source="sizes", help_text="Cases by side.")
    shares = ObjectField()
    author = serializers.CharField(source="author_name")

    class Meta:
        model = DatasetVersion
        fields = ["name", "number", "hash", "size", "splits", "seed", "shares", "message", "author", "created_at"]


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    archived = serializers.SerializerMethodField()
    created_by = serializers.CharField(source="created_by_name")
    shares = ObjectField()
    latest = serializers.SerializerMethodField()

    class Meta:
        model = Dataset
        fields = ["name", "description", "archived", "seed", "shares", "created_by", "created_at", "latest"]

    def get_archived(self, dataset: Dataset) -> bool:
        return dataset.archived_at is not None

    @extend_schema_field({"oneOf": [{"$ref": "#/components/schemas/DatasetVersion"}, {"type": "null"}]})
    def get_latest(self, dataset: Dataset) -> dict[str, Any] | None:
        if dataset.head is None:
            return None
        dataset.head.dataset = dataset
        return dict(DatasetVersionSerializer(dataset.head).data)


class DatasetInput(Input):
    name = Text(allow_blank=False)
    description = Text(required=False, default="")
    seed = serializers.IntegerField(required=False)
    shares = ObjectField(required=False, help_text=SHARES_HELP)


class DatasetChange(Input):
    description = Text()


class ResplitInput(Input):
    seed = serializers.IntegerField()
    shares = ObjectField(help_text=SHARES_HELP)
    message = Text(required=False, default="")


class CaseSerializer(serializers.ModelSerializer[Case]):
    variables = ObjectField()
    expected = AnyField(allow_null=True)
    group = serializers.CharField(source="group_key")
    # The base class has a property of this name.
    label = serializers.CharField()  # type: ignore[assignment]

    class Meta:
        model = Case
        fields = ["id", "variables", "expected", "label", "tags", "group", "weight", "split"]


class CasesInput(Input):
    """Cases as docs/datasets.md describes them. A changed case is named by its id and stays on its side."""

    cases = serializers.ListField(child=serializers.JSONField(), required=False, default=list)
    remove = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**63 - 1), required=False, default=list
    )
    change = serializers.DictField(
        child=serializers.JSONField(), required=False, default=dict, help_text="Cases by the id of what they replace."
    )
    message = Text(required=False, default="")


class CommittedCasesSerializer(serializers.Serializer[Any]):
    version = DatasetVersionSerializer()
    added = serializers.IntegerField()
    known = serializers.IntegerField(help_text="Rows that the version before had already.")


class FoldsSerializer(serializers.Serializer[Any]):
    k = serializers.IntegerField()
    seed = serializers.IntegerField()
    recommended = serializers.BooleanField(help_text="Whether the dataset is so small that folds are the better test.")
    folds = serializers.ListField(child=serializers.ListField(child=serializers.IntegerField()))


# --- Imports ---------------------------------------------------------------------------------------------------------


class ImportInput(Input):
    filename = Text(allow_blank=False)
    format = serializers.ChoiceField(choices=("jsonl", "csv", "parquet", "promptfoo"), required=False)
    expected_column = Text(required=False, default="", help_text="The column that says what is expected.")
    group_column = Text(required=False, default="", help_text="The column that says which cases belong together.")
    rename = serializers.DictField(
        child=Text(), required=False, default=dict, help_text="Other names for variables: {column: variable}."
    )
    replace = serializers.BooleanField(required=False, default=False)
    skip_bad = serializers.BooleanField(required=False, default=False)
    message = Text(required=False, default="")


class ImportAgainInput(Input):
    skip_bad = serializers.BooleanField()


class ImportSerializer(serializers.ModelSerializer[DatasetImport]):
    dataset = serializers.CharField(source="dataset.name")
    version = serializers.IntegerField(source="version.number", default=None, allow_null=True)
    faults = serializers.ListField(child=ObjectField(), help_text="The first ones, with line, pointer and message.")
    scorers = serializers.ListField(
        child=ObjectField(), help_text="What a run judges by to judge as the file's assertions do (promptfoo)."
    )
    left_out = serializers.ListField(child=serializers.CharField(), help_text="Assertions without a scorer, and why.")
    by = serializers.CharField(source="by_name")

    class Meta:
        model = DatasetImport
        fields = [
            *("id", "dataset", "filename", "format", "state", "replace", "skip_bad", "message", "bytes"),
            *("rows_read", "rows_added", "rows_known", "rows_bad", "faults", "scorers", "left_out"),
            *("error", "version", "by"),
            *("created_at", "finished_at"),
        ]


# --- Reports ---------------------------------------------------------------------------------------------------------


class ReportSerializer(serializers.ModelSerializer[Report]):
    result = ObjectField()

    class Meta:
        model = Report
        fields = ["id", "kind", "state", "progress", "result", "error", "created_at", "finished_at"]


class LeakageSerializer(serializers.Serializer[Any]):
    report = ReportSerializer(allow_null=True)
    leaked = serializers.IntegerField(help_text="Test cases that something else shows.")
    blocks_fine_tuning = serializers.BooleanField()
    reason = serializers.CharField()
    override = ObjectField(allow_null=True)


class FoundExample(serializers.Serializer[Any]):
    set = serializers.CharField()
    number = serializers.IntegerField()
    position = serializers.IntegerField()
    input = serializers.CharField()


class FindingSerializer(serializers.ModelSerializer[Finding]):
    held = CaseSerializer(help_text="The case that ought to stay unseen.")
    other = CaseSerializer(allow_null=True)
    example = serializers.SerializerMethodField()

    class Meta:
        model = Finding
        fields = ["id", "kind", "score", "is_leak", "held", "other", "example"]

    @extend_schema_field({"oneOf": [{"$ref": "#/components/schemas/FoundExample"}, {"type": "null"}]})
    def get_example(self, finding: Finding) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.context["examples"].get((finding.example_set_id, finding.position))
        return found


class ReasonInput(Input):
    reason = Text()


# --- Proposals -------------------------------------------------------------------------------------------------------


class ProposalsInput(Input):
    cases = serializers.ListField(child=serializers.JSONField(), min_length=1)
    origin = Text(help_text="Where they come from: an observation, a model that made them up.")


class ProposalSerializer(serializers.ModelSerializer[CaseProposal]):
    case = ObjectField(source="document")
    findings = serializers.ListField(child=ObjectField())
    proposed_by = serializers.CharField(source="proposed_by_name")
    decided_by = serializers.CharField(source="decided_by_name")
    version = serializers.IntegerField(source="version.number", default=None, allow_null=True)

    class Meta:
        model = CaseProposal
        fields = [
            *("id", "case", "origin", "state", "findings", "proposed_by", "created_at"),
            *("decided_by", "decided_at", "reason", "version"),
        ]


class SynthesisInput(Input):
    model = Text(allow_blank=False, help_text="provider/model: a stronger one than what is measured.")
    count = serializers.IntegerField(help_text="How many cases, 1 to 200.")
    about = Text(required=False, default="", help_text="What they are for, and what is missing.")
    variables = serializers.ListField(
        child=Text(), required=False, default=list, help_text="The dataset's own where it is empty."
    )
    budget_usd = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)


class SynthesisSerializer(serializers.ModelSerializer[Synthesis]):
    dataset = serializers.CharField(source="dataset.name")
    model = serializers.CharField()
    count = serializers.IntegerField(source="wanted")
    variables = serializers.ListField(child=serializers.CharField())
    is_simulation = serializers.BooleanField(source="model.provider.is_simulation")
    by = serializers.CharField(source="by_name")

    class Meta:
        model = Synthesis
        fields = [
            *("id", "dataset", "model", "is_simulation", "count", "about", "variables", "budget_usd", "state"),
            *("proposed", "refused", "calls", "cost_usd", "error", "by", "created_at", "finished_at"),
        ]


class AcceptInput(Input):
    ids = serializers.ListField(child=serializers.IntegerField(min_value=1, max_value=2**63 - 1), min_length=1)
    edited = serializers.DictField(
        child=serializers.JSONField(), required=False, default=dict, help_text="Cases by proposal id, where edited."
    )


class RejectInput(Input):
    ids = serializers.ListField(child=serializers.IntegerField(min_value=1, max_value=2**63 - 1), min_length=1)
    reason = Text(required=False, default="")


class CountSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField()


# --- Annotation ------------------------------------------------------------------------------------------------------


class RoundInput(Input):
    title = Text(allow_blank=False)
    annotators = serializers.IntegerField(required=False, default=1)
    labels = serializers.ListField(child=Text(), required=False, default=list)
    label_member = Text(required=False, default="")
    split = Text(required=False, default="")
    only_unanswered = serializers.BooleanField(required=False, default=False)
    most = serializers.IntegerField(required=False, default=200)


class AgreementSerializer(serializers.Serializer[Any]):
    cases = serializers.IntegerField(help_text="Cases that two people answered.")
    agreed = serializers.IntegerField()
    kappa = serializers.FloatField(allow_null=True, help_text="Cohen's.")
    words = serializers.CharField()


class RoundSerializer(serializers.ModelSerializer[AnnotationRound]):
    version = serializers.IntegerField(source="version.number")
    result = serializers.IntegerField(source="result.number", default=None, allow_null=True)
    created_by = serializers.CharField(source="created_by_name")

    class Meta:
        model = AnnotationRound
        fields = [
            *("id", "title", "annotators", "labels", "label_member", "state", "version", "result"),
            *("created_by", "created_at"),
        ]


class RoundDetailSerializer(RoundSerializer):
    cases = serializers.IntegerField()
    done = serializers.IntegerField()
    disputed = serializers.IntegerField()
    agreement = AgreementSerializer()

    class Meta(RoundSerializer.Meta):
        fields = [*RoundSerializer.Meta.fields, "cases", "done", "disputed", "agreement"]
