"""Uploading images, and deleting those that nothing uses."""

from collections.abc import Callable, Sequence

from django.db import transaction
from django.db.models import ProtectedError, TextField
from django.db.models.functions import Cast

from core.errors import Problem
from core.image_data import MAX_IMAGE_BYTES, ImageFacts, hash_of, read_facts
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
    ((image, is_new),) = upload_all(actor, [data])
    return image, is_new


def upload_all(actor: Actor, images: Sequence[bytes]) -> list[tuple[UploadedImage, bool]]:
    """Store images in one transaction: all of them or none. As `upload`, for each."""
    actor.require(Right.EDIT)
    if not images:
        return []
    facts = [_read(data) for data in images]
    hashes = [hash_of(data) for data in images]
    stored_images: list[tuple[UploadedImage, bool]] = []
    with transaction.atomic():
        # One upload after the other: the room is counted, and nobody stores the same image at the same time.
        Project.objects.select_for_update(no_key=True).get(pk=actor.project.pk)
        existing = {image.sha256: image for image in stored(actor.project).filter(sha256__in=hashes)}
        used, most = room(actor.project).values()
        for data, fact, sha256 in zip(images, facts, hashes, strict=True):
            image = existing.get(sha256)
            if image is not None:
                stored_images.append((image, False))
                continue
            used += len(data)
            if used > most:
                sentence = f"Images of this project have {most // 2**20:,} MB of room; this is more."
                raise Problem("image.no_room", f"{sentence} Delete some that are not used.")
            existing[sha256] = _create(actor, data, fact, sha256)
            stored_images.append((existing[sha256], True))
    return stored_images


def _read(data: bytes) -> ImageFacts:
    if len(data) > MAX_IMAGE_BYTES:
        raise Problem("image.too_large", f"An image has at most {MAX_IMAGE_BYTES // 2**20} MB.")
    facts = read_facts(data)
    if facts is None:
        raise Problem("image.invalid", f"This is no {KINDS} whose size can be read: send the file itself.")
    return facts


def _create(actor: Actor, data: bytes, facts: ImageFacts, sha256: str) -> UploadedImage:
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
    return image


Use = Callable[[UploadedImage], str]
_uses: list[Use] = []


def register_use(use: Use) -> None:
    """Add an app's knowledge of what has an image: a sentence on it, or nothing. A foreign key is heeded without."""
    _uses.append(use)


@transaction.atomic
def delete(actor: Actor, image: UploadedImage) -> None:
    """Delete an image that nothing has; `image.in_use` otherwise. A case is in its dataset's versions for good, and so
    is its image."""
    actor.require(Right.EDIT)
    # Whoever adds a case with it waits for this, or is waited for.
    locked = stored(actor.project).select_for_update().filter(pk=image.pk).first()
    if locked is None:
        raise Problem("image.not_found", "There is no such image in this project.")
    if reason := next(filter(None, (use(locked) for use in (_sample_use, *_uses))), ""):
        raise Problem("image.in_use", reason)
    audit.record(actor, "image.deleted", locked, before={"address": locked.address, "size": locked.size})
    try:
        locked.delete()
    except ProtectedError:
        raise Problem("image.in_use", "Cases of a dataset have it, in versions that stay.") from None


def _sample_use(image: UploadedImage) -> str:
    samples = PromptSample.objects.filter(prompt__project=image.project_id).select_related("prompt")
    sample = samples.annotate(text=Cast("values", TextField())).filter(text__contains=image.sha256).first()
    return f"It is a sample value of {sample.prompt.name}." if sample else ""
