"""Fields and bases of the API's serializers: JSON objects, exact text, selectors, and bodies without unknown
members."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

JSON_OBJECT = {"type": "object", "additionalProperties": True}


@extend_schema_field(JSON_OBJECT)
class ObjectField(serializers.JSONField):
    """A JSON object."""

    default_error_messages = {"object": "Must be an object."}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            self.fail("object")
        return data


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "array", "items": JSON_OBJECT}]})
class ContentField(serializers.JSONField):
    """The content of a message: a text, or a list of parts."""


@extend_schema_field({})
class AnyField(serializers.JSONField):
    """Any JSON value."""


# No docstring: it would become the description of every body in the OpenAPI file. A body's unknown members are refused,
# because a typo must not be taken for an absent member.
class Input(serializers.Serializer[Any]):
    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        """The checked members of a request's body, or a validation error that names what is wrong."""
        body = cls(data=request.data)
        body.is_valid(raise_exception=True)
        checked: dict[str, Any] = body.validated_data
        return checked

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(data.keys() - self.fields.keys())
            if unknown:
                raise serializers.ValidationError({name: ["Unknown member."] for name in unknown})
        return super().to_internal_value(data)


class EmptyInput(Input):
    """The body of a verb that takes nothing."""


class Text(serializers.CharField):
    """Text that is kept exactly as it was sent."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **{"allow_blank": True, **kwargs})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class Tags(serializers.ListField):
    child = Text()

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, list):
            self.fail("not_a_list", input_type=type(data).__name__)
        return super().to_internal_value(data)


@extend_schema_field({"oneOf": [{"type": "integer", "minimum": 1}, {"type": "string"}]})
class SelectorField(serializers.Field[Any, Any, Any, Any]):
    """A version's number, an environment's name, `latest`, or `sha256:...`."""

    default_error_messages = {"selector": "Must be a version number or a selector as text."}

    def to_internal_value(self, data: Any) -> str:
        if isinstance(data, bool) or not isinstance(data, int | str) or len(str(data)) > 200:
            self.fail("selector")
        return str(data)

    def to_representation(self, value: Any) -> Any:
        return value
