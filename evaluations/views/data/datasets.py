"""Pages of datasets: the list, a new one, the overview, its cases, its history and its description."""

import json
from collections.abc import Callable
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from core.errors import Fault, Problem
from evaluations import tasks
from evaluations.api.datasets import file_answer
from evaluations.curation.proposals import UNDECIDED
from evaluations.data_quality import reports
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.cases import SPLITS
from evaluations.datasets.ingest import IngestResult
from evaluations.datasets.splits import DEFAULT_SEED, DEFAULT_SPLIT_RATIOS, SMALL_DATASET_SIZE
from evaluations.models import (
    Case,
    CaseImage,
    CaseProposal,
    CaseRemoval,
    Dataset,
    DatasetVersion,
    LeakageOverride,
    Report,
    ReportKind,
    ReportState,
    Split,
)
from registry.accounts.permissions import Actor, Right
from registry.views.frame import PAGE_SIZE, done, errors_of, in_project, only_post, page, page_url, refused, whole

MAX_LABELS_SHOWN = 14
MAX_SEARCH_LENGTH = 200
SAMPLE_SIZE = 5


@in_project
def dataset_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    is_archive = request.GET.get("archived") == "1"
    search = request.GET.get("search", "").strip()[:MAX_SEARCH_LENGTH]
    rows = Dataset.objects.filter(project=actor.project, archived_at__isnull=not is_archive)
    rows = rows.filter(name__icontains=search) if search else rows
    datasets_page = Paginator(rows.select_related("head").order_by("name"), PAGE_SIZE).get_page(request.GET.get("page"))
    heads = [dataset.head_id for dataset in datasets_page if dataset.head_id]
    done_reports = Report.objects.filter(version__in=heads, state=ReportState.DONE).order_by("id")
    context = {
        "section": "datasets",
        "page": datasets_page,
        "search": search,
        "is_archive": is_archive,
        "allowed": set(LeakageOverride.objects.filter(version__in=heads).values_list("report", flat=True)),
        "leakage": {report.version_id: report for report in done_reports if report.kind == ReportKind.LEAKAGE},
        "readiness": {report.version_id: report for report in done_reports if report.kind == ReportKind.READINESS},
    }
    return page(request, actor, "evaluations/datasets/dataset_list.html", context)


@in_project
def dataset_new(request: HttpRequest, actor: Actor) -> HttpResponse:
    actor.require(Right.EDIT)
    values = {name: request.POST.get(name, "") for name in ("name", "description")}
    values |= _split_values(request, DEFAULT_SEED, DEFAULT_SPLIT_RATIOS)
    context: dict[str, Any] = {"section": "datasets", "values": values, "splits": SPLITS}
    if request.method != "POST":
        return page(request, actor, "evaluations/datasets/dataset_new.html", context)
    try:
        dataset = datasets.create(
            actor, name=values["name"].strip(), description=values["description"], **_split_settings(values)
        )
    except Problem as problem:
        at = dict.fromkeys(("dataset.invalid_name", "dataset.name_taken"), "name")
        context["errors"] = errors_of(problem, at)
        return page(request, actor, "evaluations/datasets/dataset_new.html", context, status=problem.kind.status)
    return done(
        request,
        f"Dataset {dataset.name} created. Import its cases.",
        page_url("evaluations:import-new", actor, dataset.name),
    )


def _split_values(request: HttpRequest, seed: int, split_ratios: Any) -> dict[str, str]:
    """Return the seed and the split ratios as they are typed."""
    typed = {name: request.POST.get(name, str(split_ratios.get(name, 0))) for name in SPLITS}
    return {"seed": request.POST.get("seed", str(seed)), **typed}


def _split_settings(values: dict[str, str]) -> dict[str, Any]:
    split_ratios = {
        name: number if (number := whole(values[name].strip())) is not None else values[name] for name in SPLITS
    }
    seed = whole(values["seed"].strip())
    if seed is None:
        fault = Fault("/seed", "type", "Must be a whole number.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    return {"seed": seed, "split_ratios": split_ratios}


def heading(actor: Actor, name: str, tab: str) -> dict[str, Any]:
    """Return the context of the heading of all pages of a dataset."""
    dataset = datasets.get_dataset(actor.project, name)
    waiting = CaseProposal.objects.filter(dataset=dataset, state__in=UNDECIDED).count()
    has_images = CaseImage.objects.filter(case__dataset=dataset).exists()
    return {
        **{"section": "datasets", "dataset": dataset, "tab": tab},
        **{"waiting_proposals": waiting, "has_images": has_images},
    }


def requested_version(request: HttpRequest, actor: Actor, dataset: Dataset) -> DatasetVersion | None:
    """Return the version that the address names, else the newest."""
    number = whole(request.GET.get("version", ""))
    version = datasets.get_version(actor.project, dataset.name, str(number)) if number else dataset.head
    if version:
        version.dataset = dataset
    return version


@in_project
def dataset_detail(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    context = heading(actor, name, "overview")
    dataset: Dataset = context["dataset"]
    version = requested_version(request, actor, dataset)
    context |= {"version": version, "imports": dataset.imports.select_related("version").order_by("-id")[:3]}
    if version:
        labels = datasets.labels_by_split(version)
        context |= {
            "splits": [{"name": name, "count": version.sizes.get(name, 0)} for name in SPLITS],
            "labels": _label_rows(labels),
            "label_count": len([label for label in labels if label]),
            "untested": len([label for label, counts in labels.items() if label and not counts.get("test")]),
            "is_small": version.size < SMALL_DATASET_SIZE,
            "leakage_status": reports.leakage_status(version),
            "readiness": reports.newest_report(version, ReportKind.READINESS),
            "leakage": reports.newest_report(version, ReportKind.LEAKAGE),
            "sample": Case.objects.of(version).order_by("id")[:SAMPLE_SIZE],
        }
    return page(request, actor, "evaluations/datasets/dataset_detail.html", context)


def _label_rows(labels: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """Return the commonest labels with their cases by split, and the commonest one's count as the scale."""
    totals = {label: sum(counts.values()) for label, counts in labels.items()}
    most = max(totals.values(), default=1)
    names = sorted(totals, key=lambda label: (-totals[label], label))[:MAX_LABELS_SHOWN]
    return [
        {
            "label": label,
            "total": totals[label],
            "parts": [{"split": split, "count": labels[label].get(split, 0)} for split in SPLITS],
            "most": most,
        }
        for label in names
    ]


@in_project
def case_list(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    context = heading(actor, name, "cases")
    version = requested_version(request, actor, context["dataset"])
    filters = {key: request.GET.get(key, "").strip()[:MAX_SEARCH_LENGTH] for key in ("split", "label", "tag", "search")}
    context |= {"version": version, "filters": filters, "is_filtered": any(filters.values()), "split_names": SPLITS}
    if version:
        cases = _filtered(Case.objects.of(version), filters)
        context["page"] = Paginator(cases.order_by("id"), PAGE_SIZE).get_page(request.GET.get("page"))
        context["labels"] = sorted(label for label in datasets.labels_by_split(version) if label)
        context["leaked"] = reports.leaked_cases(version)
    return page(request, actor, "evaluations/datasets/case_list.html", context)


def _filtered(cases: Any, filters: dict[str, str]) -> Any:
    if filters["split"] in Split.values:
        cases = cases.filter(split=filters["split"])
    if filters["label"]:
        cases = cases.filter(label=filters["label"])
    if filters["tag"]:
        cases = cases.filter(tags__contains=[filters["tag"]])
    if filters["search"]:
        # As it stands in JSON, where quotes and line ends are written with a backslash.
        text = json.dumps(filters["search"], ensure_ascii=False)[1:-1]
        cases = cases.filter(Q(variables__icontains=text) | Q(expected__icontains=text))
    return cases


@in_project
def case_edit(request: HttpRequest, actor: Actor, name: str, key: int | None = None) -> HttpResponse:
    """Show, change or remove a case; or create one."""
    context = heading(actor, name, "cases")
    dataset: Dataset = context["dataset"]
    case = _case(dataset, key) if key else None
    values = _case_values(request, case, dataset)
    context |= {"case": case, "values": values, "split_names": SPLITS}
    if case:
        removal = CaseRemoval.objects.filter(case=case).first()
        context["removed_in"] = removal.removed_in if removal else None
    if request.method != "POST":
        return page(request, actor, "evaluations/datasets/case_edit.html", context)
    actor.require(Right.EDIT)
    try:
        if case and request.POST.get("do") == "remove":
            loaded = datasets.change(actor, dataset, removed=[case.pk], message=values["message"] or "Removed a case")
        else:
            document = _case_document(values, case)
            changes: dict[str, Any] = {"changed": {case.pk: document}} if case else {"added": [document]}
            message = values["message"] or ("Changed a case" if case else "Added a case")
            loaded = datasets.change(actor, dataset, message=message, **changes)
    except Problem as problem:
        context["errors"] = _case_errors(problem)
        return page(request, actor, "evaluations/datasets/case_edit.html", context, status=problem.kind.status)
    tasks.start_reports(loaded.version)
    return done(request, _sentence_after(request, case, loaded), page_url("evaluations:case-list", actor, name))


def _sentence_after(request: HttpRequest, case: Case | None, loaded: IngestResult) -> str:
    number = loaded.version.number
    if not loaded.created:
        return f"Nothing changed: version {number} has these cases"
    if case and request.POST.get("do") == "remove":
        return f"Case {case.pk} removed in version {number}"
    new = Case.objects.filter(dataset=loaded.version.dataset_id, added_in=number).order_by("-id").first()
    return f"Version {number} saved, with case {new.pk} in split {new.split}" if new else f"Version {number} saved"


def _case(dataset: Dataset, key: int) -> Case:
    case = Case.objects.filter(dataset=dataset, pk=key).first()
    if case is None:
        raise Problem("cases.not_found", f"{dataset.name} has no case {key}.")
    return case


CASE_FIELDS = ("variables", "expected", "label", "tags", "group", "weight", "split", "message")


def _case_values(request: HttpRequest, case: Case | None, dataset: Dataset) -> dict[str, str]:
    """Return the fields of the form: as they were typed, as the case has them, or blank for a new one."""
    if request.method == "POST":
        return {name: str(request.POST.get(name, "")).replace("\r\n", "\n") for name in CASE_FIELDS}
    if case is None:
        names = datasets.variable_names(dataset.head, sample=50) if dataset.head else ["input"]
        return {"variables": datasets.pretty_json(dict.fromkeys(names, ""))}
    return _stored_values(case)


def _stored_values(case: Case) -> dict[str, str]:
    document = datasets.case_as_dict(case)
    expected = case.expected
    return {
        "variables": datasets.pretty_json(case.variables),
        "expected": expected
        if isinstance(expected, str)
        else ""
        if expected is None
        else datasets.pretty_json(expected),
        "label": document.get("label", ""),
        "tags": _tags_as_text(case.tags),
        "group": case.group_key,
        "weight": f"{case.weight:g}" if case.weight != 1 else "",
        "split": case.split if case.is_placed else "",
        "message": "",
    }


def _tags_as_text(tags: list[str]) -> str:
    """Return tags separated by commas; as a JSON list where one of them has a comma itself."""
    has_comma = any("," in tag or tag.startswith("[") for tag in tags)
    return json.dumps(tags, ensure_ascii=False) if has_comma else ", ".join(tags)


def _case_document(values: dict[str, str], case: Case | None) -> dict[str, Any]:
    """Return the case of the form. Untouched fields stay as stored: showing a number does not make it a text."""
    stored = _stored_values(case) if case else {}
    document: dict[str, Any] = datasets.case_as_dict(case) if case else {}
    for name in ("split", "dealt"):
        document.pop(name, None)
    if values["split"]:
        document["split"] = values["split"]
    for name, read in READERS.items():
        if name in values and values[name] != stored.get(name, "" if name != "variables" else None):
            document[name] = read(values[name])
    return document


def _read_variables(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        sentence = f'This is not JSON; write {{"ticket": "…"}}: {error}'
        raise Problem("cases.invalid", sentence, faults=[Fault("/0/variables", "json", sentence)]) from None


def _read_tags(text: str) -> Any:
    if text.strip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return [tag.strip() for tag in text.split(",") if tag.strip()]


def _read_weight(text: str) -> Any:
    try:
        return float(text) if text.strip() else None
    except ValueError:
        return text


def typed_answer(text: str) -> Any:
    """Parse a typed answer: JSON where it starts like an object or a list, else text; None for nothing."""
    stripped = text.strip()
    if stripped[:1] not in ("{", "["):
        return text if stripped else None
    try:
        return json.loads(stripped)
    except (ValueError, RecursionError) as error:
        sentence = f"This starts like JSON but is none: {error}"
        raise Problem("cases.invalid", sentence, faults=[Fault("/0/expected", "json", sentence)]) from None


READERS: dict[str, Callable[[str], Any]] = {
    "variables": _read_variables,
    "expected": typed_answer,
    "label": str.strip,
    "tags": _read_tags,
    "group": str.strip,
    "weight": _read_weight,
}


def _case_errors(problem: Problem) -> dict[str, str]:
    faults = {fault.pointer.split("/")[2]: fault.message for fault in problem.faults if fault.pointer.count("/") > 1}
    return faults or {"": problem.detail}


@in_project
def dataset_history(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    context = heading(actor, name, "history")
    rows = context["dataset"].versions.order_by("-number")
    context["page"] = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    return page(request, actor, "evaluations/datasets/dataset_history.html", context)


@in_project
def dataset_file(request: HttpRequest, actor: Actor, name: str, number: int) -> HttpResponseBase:
    version = datasets.get_version(actor.project, name, str(number))
    return file_answer(version, request.GET.dict())


@in_project
def dataset_about(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    actor.require(Right.EDIT)
    context = heading(actor, name, "about")
    dataset: Dataset = context["dataset"]
    values = {"description": request.POST.get("description", dataset.description).replace("\r\n", "\n")}
    values |= _split_values(request, dataset.seed, dataset.split_ratios)
    context |= {"values": values, "splits": SPLITS}
    if request.method == "POST":
        try:
            if request.POST.get("do") == "resplit" and dataset.head is None:
                datasets.configure_splits(actor, dataset, **_split_settings(values))
                sentence = "Splits saved"
            elif request.POST.get("do") == "resplit":
                loaded = datasets.resplit(actor, dataset, **_split_settings(values))
                tasks.start_reports(loaded.version)
                sentence = f"Cases re-split in version {loaded.version.number}"
            else:
                datasets.describe(actor, dataset, description=values["description"])
                sentence = "Dataset saved"
        except Problem as problem:
            context["errors"] = errors_of(problem)
            return page(request, actor, "evaluations/datasets/dataset_about.html", context, status=problem.kind.status)
        return done(request, sentence, page_url("evaluations:dataset-detail", actor, name))
    return page(request, actor, "evaluations/datasets/dataset_about.html", context)


@in_project
@only_post
def dataset_archive(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    try:
        datasets.archive(actor, datasets.get_dataset(actor.project, name))
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:dataset-about", actor, name))
    return done(request, f"Dataset {name} archived", page_url("evaluations:dataset-list", actor))


@in_project
@only_post
def dataset_restore(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    datasets.restore(actor, datasets.get_dataset(actor.project, name))
    return done(request, f"Dataset {name} restored", page_url("evaluations:dataset-detail", actor, name))
