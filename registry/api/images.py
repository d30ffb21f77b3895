"""Uploaded images over REST."""

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.image_data import MAX_IMAGE_BYTES
from infra.rest import BytesParser
from registry.api.base import ProjectListView, ProjectView
from registry.images import lookup, uploads
from registry.images.file_response import image_response
from registry.models import UploadedImage


class ImageSerializer(serializers.ModelSerializer[UploadedImage]):
    address = serializers.CharField(help_text="What a value says in its place: image:1920x1080:SHA-256.")
    uploaded_by = serializers.CharField(source="by_name")

    class Meta:
        model = UploadedImage
        fields = ["address", "sha256", "media_type", "width", "height", "size", "uploaded_by", "created_at"]


class ImageParser(BytesParser):
    """Parser of an image's bytes, whatever they are called: what they are is in them."""

    media_type = "*/*"
    max_bytes = MAX_IMAGE_BYTES
    too_large = ("image.too_large", f"An image has at most {MAX_IMAGE_BYTES // 2**20} MB.")


class ImageList(ProjectListView[UploadedImage]):
    queryset = UploadedImage.objects.none()
    serializer_class = ImageSerializer
    parser_classes = (ImageParser,)
    ordering = ("-id",)
    # A little more than it takes, so that the refusal names the image.
    max_streamed_bytes = 2 * MAX_IMAGE_BYTES

    def get_queryset(self) -> QuerySet[UploadedImage]:
        return lookup.stored(self.actor.project)

    @extend_schema(operation_id="images_list", responses=ImageSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the project's images, newest first."""
        return self.page(self.get_queryset())

    @extend_schema(
        operation_id="images_upload",
        request={"application/octet-stream": OpenApiTypes.BINARY, "image/*": OpenApiTypes.BINARY},
        responses={201: ImageSerializer, 200: OpenApiResponse(ImageSerializer, "It was there already.")},
    )
    def post(self, request: Request) -> Response:
        """Upload an image as the body (PNG, JPEG, WebP or GIF of at most 5 MB); cases and other values name it by its
        address. The same bytes are one image."""
        image, created = uploads.upload(self.actor, request.data if isinstance(request.data, bytes) else b"")
        headers = {"Location": f"/api/v1/images/{image.sha256}"}
        return Response(ImageSerializer(image).data, status=201 if created else 200, headers=headers)


class ImageDetail(ProjectView):
    @extend_schema(operation_id="images_read", responses={(200, "image/*"): OpenApiTypes.BINARY})
    def get(self, request: Request, sha256: str) -> HttpResponse:
        """Read an image's bytes."""
        return image_response(request, lookup.get_image(self.actor.project, sha256))

    @extend_schema(operation_id="images_delete", responses={204: None})
    def delete(self, request: Request, sha256: str) -> Response:
        """Delete an image that no case and no sample value names."""
        uploads.delete(self.actor, lookup.get_image(self.actor.project, sha256))
        return Response(status=204)
