"""Filters of the API's lists."""

import django_filters
from django.db.models import QuerySet

from evaluations.models import Case, CaseProposal, Dataset, ProposalState, Split


class DatasetFilter(django_filters.FilterSet):
    search = django_filters.CharFilter(field_name="name", lookup_expr="icontains", help_text="Part of the name.")
    archived = django_filters.BooleanFilter(method="by_archived", help_text="Default: not archived.")

    class Meta:
        model = Dataset
        fields: list[str] = []

    def filter_queryset(self, queryset: QuerySet[Dataset]) -> QuerySet[Dataset]:
        filtered: QuerySet[Dataset] = super().filter_queryset(queryset)
        return filtered.filter(archived_at=None) if self.form.cleaned_data.get("archived") is None else filtered

    def by_archived(self, queryset: QuerySet[Dataset], _name: str, value: bool) -> QuerySet[Dataset]:
        return queryset.filter(archived_at__isnull=not value)


class CaseFilter(django_filters.FilterSet):
    split = django_filters.ChoiceFilter(choices=Split.choices)
    label = django_filters.CharFilter()
    tag = django_filters.CharFilter(method="by_tag")
    unanswered = django_filters.BooleanFilter(field_name="expected", lookup_expr="isnull")

    class Meta:
        model = Case
        fields: list[str] = []

    def by_tag(self, queryset: QuerySet[Case], _name: str, value: str) -> QuerySet[Case]:
        return queryset.filter(tags__contains=[value])


class ProposalFilter(django_filters.FilterSet):
    state = django_filters.ChoiceFilter(choices=ProposalState.choices)

    class Meta:
        model = CaseProposal
        fields: list[str] = []
