"""Uploaded images for the pages that show them."""

from django.http import HttpRequest, HttpResponse

from registry.accounts.permissions import Actor
from registry.images import lookup
from registry.images.file_response import image_response
from registry.views.frame import in_project


@in_project
def image_file(request: HttpRequest, actor: Actor, sha256: str) -> HttpResponse:
    """Answer with an image of the project."""
    return image_response(request, lookup.get_image(actor.project, sha256))
