"""Serializers of datasets, their versions and cases."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from evaluations.models import Case, Dataset, DatasetVersion
from infra.serializer_fields import AnyField, Input, ObjectField, Text

SPLIT_RATIOS_HELP = "Whole percentages of train, validation, test and general; together 100."


class DatasetVersionSerializer(serializers.ModelSerializer[DatasetVersion]):
    name = serializers.CharField(source="dataset.name")
    hash = serializers.CharField(source="content_hash")
    splits = ObjectField(source="sizes", help_text="Cases by split.")
    split_ratios = ObjectField()
    author = serializers.CharField(source="author_name")

    class Meta:
        model = DatasetVersion
        fields = ["name", "number", "hash", "size", "splits", "seed", "split_ratios", "message", "author", "created_at"]


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    archived = serializers.SerializerMethodField()
    created_by = serializers.CharField(source="created_by_name")
    split_ratios = ObjectField()
    latest = serializers.SerializerMethodField()

    class Meta:
        model = Dataset
        fields = ["name", "description", "archived", "seed", "split_ratios", "created_by", "created_at", "latest"]

    def get_archived(self, dataset: Dataset) -> bool:
        return dataset.archived_at is not None

    @extend_schema_field(DatasetVersionSerializer(allow_null=True))
    def get_latest(self, dataset: Dataset) -> dict[str, Any] | None:
        if dataset.head is None:
            return None
        dataset.head.dataset = dataset
        return dict(DatasetVersionSerializer(dataset.head).data)


class DatasetInput(Input):
    name = Text(allow_blank=False)
    description = Text(required=False, default="")
    seed = serializers.IntegerField(required=False)
    split_ratios = ObjectField(required=False, help_text=SPLIT_RATIOS_HELP)


class DatasetChange(Input):
    description = Text()


class ResplitInput(Input):
    seed = serializers.IntegerField()
    split_ratios = ObjectField(help_text=SPLIT_RATIOS_HELP)
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
    """Cases as docs/datasets.md describes them. A changed case is named by its id and stays in its split."""

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
