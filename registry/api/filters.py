"""Filters of the API's lists."""

from datetime import UTC, datetime
from decimal import Decimal

import django_filters
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from registry.delivery import fetch_stats
from registry.models import AuditEntry, ExampleSet, Promotion, PromotionStatus, Prompt, Release, ReleaseKind
from registry.prompts import listing


class PromptFilter(django_filters.FilterSet):
    search = django_filters.CharFilter(method="by_text", help_text="Part of the name or description, or a tag.")
    prefix = django_filters.CharFilter(field_name="name", lookup_expr="startswith")
    tag = django_filters.CharFilter(method="by_tag")
    environment = django_filters.CharFilter(method="by_environment", help_text="Something is live there.")
    archived = django_filters.BooleanFilter(method="by_archived", help_text="Default: not archived.")
    unused_days = django_filters.NumberFilter(
        method="by_unused", min_value=1, max_value=400, help_text="No version was fetched for so many days."
    )

    class Meta:
        model = Prompt
        fields: list[str] = []

    def filter_queryset(self, queryset: QuerySet[Prompt]) -> QuerySet[Prompt]:
        filtered: QuerySet[Prompt] = super().filter_queryset(queryset)
        return filtered.filter(archived_at=None) if self.form.cleaned_data.get("archived") is None else filtered

    def by_text(self, queryset: QuerySet[Prompt], _name: str, value: str) -> QuerySet[Prompt]:
        return listing.prompts_matching(queryset, value)

    def by_unused(self, queryset: QuerySet[Prompt], _name: str, value: Decimal) -> QuerySet[Prompt]:
        return fetch_stats.unused_prompts(queryset, int(value))

    def by_tag(self, queryset: QuerySet[Prompt], _name: str, value: str) -> QuerySet[Prompt]:
        return queryset.filter(tags__contains=[value])

    def by_environment(self, queryset: QuerySet[Prompt], _name: str, value: str) -> QuerySet[Prompt]:
        return listing.prompts_live_in(queryset, value)

    def by_archived(self, queryset: QuerySet[Prompt], _name: str, value: bool) -> QuerySet[Prompt]:
        return queryset.filter(archived_at__isnull=not value)


class ExampleSetFilter(django_filters.FilterSet):
    search = django_filters.CharFilter(field_name="name", lookup_expr="icontains", help_text="Part of the name.")
    archived = django_filters.BooleanFilter(method="by_archived", help_text="Default: not archived.")

    class Meta:
        model = ExampleSet
        fields: list[str] = []

    def filter_queryset(self, queryset: QuerySet[ExampleSet]) -> QuerySet[ExampleSet]:
        filtered: QuerySet[ExampleSet] = super().filter_queryset(queryset)
        return filtered.filter(archived_at=None) if self.form.cleaned_data.get("archived") is None else filtered

    def by_archived(self, queryset: QuerySet[ExampleSet], _name: str, value: bool) -> QuerySet[ExampleSet]:
        return queryset.filter(archived_at__isnull=not value)


class PromotionFilter(django_filters.FilterSet):
    status = django_filters.ChoiceFilter(choices=PromotionStatus.choices)
    environment = django_filters.CharFilter(field_name="environment__name")
    prompt = django_filters.CharFilter(field_name="prompt__name")

    class Meta:
        model = Promotion
        fields: list[str] = []


class ReleaseFilter(django_filters.FilterSet):
    environment = django_filters.CharFilter(field_name="environment__name")
    kind = django_filters.ChoiceFilter(choices=ReleaseKind.choices)

    class Meta:
        model = Release
        fields: list[str] = []


class MomentField(django_filters.fields.IsoDateTimeField):
    """An ISO 8601 time, in UTC: PostgreSQL knows fewer offsets than Python."""

    def clean(self, value: object) -> datetime | None:
        moment: datetime | None = super().clean(value)
        try:
            return moment.astimezone(UTC) if moment else None
        except OverflowError:
            raise ValidationError("This time is out of range.", code="invalid") from None


class MomentFilter(django_filters.DateTimeFilter):
    field_class = MomentField


class AuditFilter(django_filters.FilterSet):
    action = django_filters.CharFilter(help_text="Such as promotion.approved.")
    target = django_filters.CharFilter(lookup_expr="startswith", help_text="Start of what was changed.")
    actor = django_filters.CharFilter()
    request_id = django_filters.CharFilter()
    since = MomentFilter(field_name="created_at", lookup_expr="gte")
    until = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = AuditEntry
        fields: list[str] = []
