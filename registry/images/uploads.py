"""Uploading images, and deleting those that nothing uses."""

from django.db import transaction
from django.db.models import ProtectedError, TextField
from django.db.models.functions import Cast

from core.errors import Problem
from core.image_data import MAX_IMAGE_BYTES, hash_of, read_facts
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.images.lookup import room, stored
from registry.models import ImageMediaType, Project, PromptSample, UploadedImage

KINDS = ", ".join(ImageMediaType.labels[:-1]) + f" or {ImageMediaType.labels[-1]}"


def upload(actor: Actor, data: bytes) -> tuple[UploadedImage, bool]:
    """Store an image; return it, and whether it is new: the same bytes are one image.

    Raises `image.invalid`, `image.too_large`, or `image.no_room` where the project's images would need more than the
    installation gives each (the setting IMAGE_MEGABYTES).
    """
    actor.require(Right.EDIT)
    if len(data) > MAX_IMAGE_BYTES:
        raise Problem("image.too_large", f"An image has at most {MAX_IMAGE_BYTES // 2**20} MB.")
    facts = read_facts(data)
    if facts is None:
        raise Problem("image.invalid", f"This is no {KINDS} whose size can be read.")
    sha256 = hash_of(data)
    with transaction.atomic():
        # One upload after the other: the room is counted, and nobody stores the same image at the same time.
        Project.objects.select_for_update(no_key=True).get(pk=actor.project.pk)
        existing = stored(actor.project).filter(sha256=sha256).first()
        if existing:
            return existing, False
        used, most = room(actor.project).values()
        if used + len(data) > most:
            sentence = f"Images of this project have {used / 2**20:,.0f} of {most // 2**20:,} MB."
            raise Problem("image.no_room", f"{sentence} Delete some that are not used.")
        image = UploadedImage.objects.create(
            project=actor.project,
            sha256=sha256,
            media_type=facts.media_type,
            width=facts.width,
            height=facts.height,
            size=len(data),
            data=data,
            by=actor.user,
            by_key=actor.key,
            by_name=actor.name,
        )
        audit.record(actor, "image.uploaded", image, after={"address": image.address, "size": image.size})
    return image, True


@transaction.atomic
def delete(actor: Actor, image: UploadedImage) -> None:
    """Delete an image that no case and no sample value names; `image.in_use` otherwise. A case is in its dataset's
    versions for good, and so is its image."""
    actor.require(Right.EDIT)
    samples = PromptSample.objects.filter(prompt__project=actor.project).select_related("prompt")
    sample = samples.annotate(text=Cast("values", TextField())).filter(text__contains=image.sha256).first()
    if sample:
        raise Problem("image.in_use", f"It is a sample value of {sample.prompt.name}.")
    audit.record(actor, "image.deleted", image, before={"address": image.address, "size": image.size})
    try:
        image.delete()
    except ProtectedError:
        raise Problem("image.in_use", "Cases of a dataset have it, in versions that stay.") from None
