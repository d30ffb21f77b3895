"""Finding uploaded images by their addresses, and putting them into messages as data."""

import base64
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db.models import QuerySet, Sum

from core.errors import Problem
from core.image_data import UPLOADED, UPLOADED_IN_JSON, uploaded_in
from core.messages import IMAGE, address_of, images_of
from registry.models import Project, UploadedImage

Message = Mapping[str, Any]
VALUE_IN_JSON = re.compile(UPLOADED_IN_JSON)
# Of all images of one request, or of one case: more than providers take.
MAX_SENT_BYTES = 32 * 1024 * 1024


def stored(project: Project) -> QuerySet[UploadedImage]:
    """Return a project's images without their data."""
    return UploadedImage.objects.filter(project=project).defer("data")


def room(project: Project) -> dict[str, int]:
    """Return the bytes that a project's images have (`used_bytes`), and those that they may have (`most_bytes`)."""
    used = stored(project).aggregate(sum=Sum("size"))["sum"] or 0
    return {"used_bytes": used, "most_bytes": settings.IMAGE_BYTES}


def get_image(project: Project, sha256: str) -> UploadedImage:
    """Return an image by the hash of its bytes, or raise `image.not_found`."""
    image = UploadedImage.objects.filter(project=project, sha256=sha256).first()
    if image is None:
        raise Problem("image.not_found", "There is no such image in this project.")
    return image


def addresses_in_json(text: str) -> list[str]:
    """Return the addresses of uploaded images among the values of a JSON text, each as often as it stands there."""
    if "image:" not in text:
        return []
    return [f"image:{match[1]}:{match[2]}" for match in VALUE_IN_JSON.finditer(text)]


def sizes_of(project_id: int, addresses: Collection[str]) -> dict[str, int]:
    """Return the sizes in bytes, by address, of those of these images that the project has."""
    hashes = {match[3] for address in addresses if (match := UPLOADED.fullmatch(address))}
    rows = UploadedImage.objects.filter(project=project_id, sha256__in=hashes).defer("data")
    return {image.address: image.size for image in rows if image.address in addresses}


def with_data(project_id: int, messages: Sequence[Message]) -> list[Message]:
    """Return messages as a provider takes them: uploaded images as data. Raises `image.unknown` where the project has
    no such image."""
    addresses = _uploaded(messages)
    if not addresses:
        return list(messages)
    sizes = sizes_of(project_id, set(addresses))
    if unknown := set(addresses) - sizes.keys():
        raise Problem("image.unknown", f"This project has no image {min(unknown)}. Upload it first.")
    if sum(sizes[address] for address in addresses) > MAX_SENT_BYTES:
        sentence = f"The images of one request have at most {MAX_SENT_BYTES // 2**20} MB together."
        raise Problem("image.too_large", sentence)
    data_by_address = data_of(project_id, set(addresses))
    return [_replaced(message, data_by_address) for message in messages]


def data_of(project_id: int, addresses: Collection[str]) -> dict[str, str]:
    """Return images as `data:` addresses, by their own; those that the project has."""
    hashes = {match[3] for address in addresses if (match := UPLOADED.fullmatch(address))}
    rows = UploadedImage.objects.filter(project=project_id, sha256__in=hashes)
    return {image.address: _as_data(image) for image in rows}


def written_out(project_id: int, value: Any) -> Any:
    """Return a JSON value with the data of the uploaded images that it names, for another installation. A case is
    bounded when it is added (evaluations.datasets.row_images), and so is this."""
    addresses = set(uploaded_in(value))
    return _with_values(value, data_of(project_id, addresses)) if addresses else value


def _with_values(value: Any, data_by_address: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return data_by_address.get(value, value)
    if isinstance(value, Mapping):
        return {name: _with_values(member, data_by_address) for name, member in value.items()}
    return [_with_values(item, data_by_address) for item in value] if isinstance(value, list) else value


def _uploaded(messages: Iterable[Message]) -> list[str]:
    addresses = (address_of(part) for message in messages for part in images_of(message))
    return [address for address in addresses if UPLOADED.fullmatch(address)]


def _as_data(image: UploadedImage) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"


def _replaced(message: Message, data_by_address: Mapping[str, str]) -> Message:
    if not _uploaded([message]):
        return message
    return {**message, "content": [_replaced_part(part, data_by_address) for part in message["content"]]}


def _replaced_part(part: Mapping[str, Any], data_by_address: Mapping[str, str]) -> Mapping[str, Any]:
    if part.get("type") != IMAGE or address_of(part) not in data_by_address:
        return part
    return {**part, IMAGE: {**part[IMAGE], "url": data_by_address[address_of(part)]}}
