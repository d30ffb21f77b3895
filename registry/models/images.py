from django.db import models
from django.db.models import F, Func, Q
from django.db.models.functions import Now

from core.image_data import MAX_IMAGE_BYTES, ImageFacts, uploaded_address
from infra.triggers import frozen_fields_of_deletable_rows
from registry.models.by_actor import ByActor
from registry.models.people import Project


class ImageMediaType(models.TextChoices):
    """What all providers take."""

    PNG = "image/png", "PNG"
    JPEG = "image/jpeg", "JPEG"
    WEBP = "image/webp", "WebP"
    GIF = "image/gif", "GIF"


class UploadedImage(ByActor):
    """An image of a project, stored once however often it is uploaded: values name it by the hash of its bytes."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="images")
    sha256 = models.CharField(max_length=64)
    media_type = models.CharField(max_length=10, choices=ImageMediaType.choices)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    size = models.PositiveIntegerField()
    data = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "sha256"], name="image_once_a_project"),
            models.CheckConstraint(
                condition=Q(
                    sha256=Func(
                        F("data"), template="encode(sha256(%(expressions)s), 'hex')", output_field=models.TextField()
                    )
                ),
                name="image_hash_is_of_its_data",
            ),
            models.CheckConstraint(
                condition=Q(
                    size=Func(F("data"), function="octet_length", output_field=models.IntegerField()),
                    size__gt=0,
                    size__lte=MAX_IMAGE_BYTES,
                ),
                name="image_size_is_of_its_data",
            ),
            models.CheckConstraint(condition=Q(media_type__in=ImageMediaType.values), name="image_media_type_is_known"),
            models.CheckConstraint(condition=Q(width__gt=0, height__gt=0), name="image_has_edges"),
        ]
        triggers = frozen_fields_of_deletable_rows("project", "sha256", "media_type", "width", "height", "size", "data")

    def __str__(self) -> str:
        return f"{self.get_media_type_display()} {self.sha256[:12]}"

    @property
    def address(self) -> str:
        """What a value says in its place."""
        return uploaded_address(ImageFacts(self.media_type, self.width, self.height), self.sha256)
