"""Serializers of imports of cases."""

from typing import Any

from rest_framework import serializers

from evaluations.models import DatasetImport
from infra.serializer_fields import Input, ObjectField, Text


class ImportInput(Input):
    filename = Text(allow_blank=False)
    format = serializers.ChoiceField(choices=("jsonl", "csv", "parquet", "promptfoo"), required=False)
    expected_column = Text(required=False, default="", help_text="The column with the expected output.")
    group_column = Text(required=False, default="", help_text="The column by which cases belong together.")
    rename = serializers.DictField(
        child=Text(), required=False, default=dict, help_text="Other names for variables: {column: variable}."
    )
    leave_out = serializers.ListField(
        child=Text(allow_blank=False), required=False, default=list, help_text="Columns that are not read."
    )
    map = serializers.DictField(
        child=Text(),
        required=False,
        default=dict,
        help_text="{column: use}: input, expected, label, tag, group, leave_out, variable, or variable:NAME.",
    )
    bytes = serializers.IntegerField(
        required=False, min_value=1, help_text="The size of the file: the import starts with no fewer bytes."
    )
    replace = serializers.BooleanField(required=False, default=False)
    skip_bad = serializers.BooleanField(required=False, default=False)
    message = Text(required=False, default="")


class ImportMapInput(Input):
    map = serializers.DictField(
        child=Text(), required=False, help_text="What columns are, in place of what the import says."
    )


class ImportPreviewSerializer(serializers.Serializer[Any]):
    mapping = ObjectField(help_text="Names in the first rows, by what they are read as, with the number of rows.")
    cases = serializers.ListField(child=ObjectField(), help_text="The first few, as they would be.")
    faults = serializers.ListField(child=ObjectField(), help_text="Rows that cannot be read: line, pointer, message.")


class ImportRetryInput(Input):
    skip_bad = serializers.BooleanField()


class ImportSerializer(serializers.ModelSerializer[DatasetImport]):
    dataset = serializers.CharField(source="dataset.name")
    version = serializers.IntegerField(source="version.number", default=None, allow_null=True)
    faults = serializers.ListField(child=ObjectField(), help_text="The first ones, with line, pointer and message.")
    mapping = ObjectField(
        help_text="What became of the file's names, in rows: variables, expected, label, tags, left_out, not_found."
    )
    scorers = serializers.ListField(
        child=ObjectField(), help_text="Scorers that judge as the file's assertions do (promptfoo)."
    )
    left_out = serializers.ListField(child=serializers.CharField(), help_text="Assertions without a scorer, and why.")
    by = serializers.CharField(source="by_name")

    class Meta:
        model = DatasetImport
        fields = [
            *("id", "dataset", "filename", "format", "state", "replace", "skip_bad", "message", "bytes"),
            *("rows_read", "rows_added", "rows_known", "rows_bad", "faults", "mapping", "scorers", "left_out"),
            *("error", "version", "by"),
            *("created_at", "finished_at"),
        ]
