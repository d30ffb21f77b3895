"""The page of a project's images: what cases and other values name, and what nothing has."""

from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpRequest, HttpResponse

from core.errors import Problem
from core.image_data import MAX_IMAGE_BYTES
from evaluations.models import CaseImage
from infra.http.body_limits import accepts_files
from registry.accounts.permissions import Actor
from registry.images import lookup, uploads
from registry.views.frame import done, in_project, only_post, page, page_url, refused

PAGE_SIZE = 48
MAX_AT_ONCE = 20


@accepts_files(MAX_AT_ONCE * MAX_IMAGE_BYTES)
@in_project
def image_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Show the images, newest first; upload more."""
    if request.method == "POST":
        return _upload(request, actor)
    images = lookup.stored(actor.project).order_by("-id")
    shown_page = Paginator(images, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "section": "datasets",
        "page": shown_page,
        "uses": _uses([image.pk for image in shown_page]),
        "most_megabytes": MAX_IMAGE_BYTES // 2**20,
        "most_files": MAX_AT_ONCE,
        **lookup.room(actor.project),
    }
    return page(request, actor, "evaluations/datasets/image_list.html", context)


def _uses(keys: list[int]) -> dict[int, list[tuple[str, int]]]:
    """Return the datasets whose cases have each image, with the number of those cases."""
    uses: dict[int, list[tuple[str, int]]] = {}
    rows = CaseImage.objects.filter(image__in=keys).values_list("image_id", "case__dataset__name").order_by()
    for image, name, count in rows.annotate(count=Count("case")).order_by("case__dataset__name"):
        uses.setdefault(image, []).append((name, count))
    return uses


def _upload(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Upload each file that can be; say which cannot, and why."""
    files, new = request.FILES.getlist("files"), 0
    address = page_url("evaluations:image-list", actor)
    if not 1 <= len(files) <= MAX_AT_ONCE:
        sentence = f"Choose 1 to {MAX_AT_ONCE} files at once; these are {len(files)}. Nothing was uploaded."
        return refused(request, Problem("request.invalid", sentence), address)
    refusals = []
    for file in files:
        try:
            new += uploads.upload(actor, file.read(MAX_IMAGE_BYTES + 1))[1]
        except Problem as problem:
            refusals.append(f"{file.name}: {problem.detail}")
    sentence = f"{new} image{'' if new == 1 else 's'} uploaded"
    if before := len(files) - new - len(refusals):
        sentence += f"; {before} {'was' if before == 1 else 'were'} there already"
    if refusals:
        return refused(request, Problem("image.invalid", f"{sentence}. {' '.join(refusals)}"), address)
    return done(request, sentence, address)


@in_project
@only_post
def image_delete(request: HttpRequest, actor: Actor, sha256: str) -> HttpResponse:
    address = page_url("evaluations:image-list", actor)
    try:
        uploads.delete(actor, lookup.get_image(actor.project, sha256))
    except Problem as problem:
        return refused(request, problem, address)
    return done(request, "Image deleted", address)
