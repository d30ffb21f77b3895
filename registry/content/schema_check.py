"""Documents held against a JSON Schema that a user wrote. Pure, and a job for a child under limits: a schema of 1 KB
can take gigabytes (`anyOf` of `anyOf`, each of the next twice)."""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import jsonschema_rs

from infra.limited.batches import do_each

MAX_MESSAGE_LENGTH = 200
TOO_EXPENSIVE = "schema.too_expensive"
SUBJECT = "The check against the schema"


class UnusableSchemaError(Exception):
    """The schema cannot be applied: it names what is not part of it, or it is none."""


@functools.lru_cache(maxsize=16)
def _validator(schema: str) -> Any:
    # Linear-time patterns, and nothing is fetched.
    return jsonschema_rs.validator_for(
        json.loads(schema), retriever=_refuse_to_fetch, pattern_options=jsonschema_rs.RegexOptions()
    )


def _refuse_to_fetch(address: str) -> NoReturn:
    raise ValueError(f"{address} is not part of the schema")


def violations(schema: Mapping[str, Any], document: Any, limit: int = 1) -> list[str]:
    """Return the first violations, each with its place; none where the document keeps to the schema."""
    try:
        validator = _validator(json.dumps(schema, sort_keys=True))
        # Much cheaper than collecting errors, and most documents are valid.
        if validator.is_valid(document):
            return []
        errors = validator.iter_errors(document)
        return [_describe(error) for error, _ in zip(errors, range(limit), strict=False)]
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        raise UnusableSchemaError(str(error)[:MAX_MESSAGE_LENGTH]) from None


def _describe(error: Any) -> str:
    where = "/".join(str(step) for step in error.instance_path) or "the whole"
    return f"{where}: {error.message}"[:MAX_MESSAGE_LENGTH]


def violations_of_text(schema: Mapping[str, Any], text: str, limit: int = 1) -> list[str]:
    """Return the first violations of a JSON text; also where it is none, or the schema cannot be applied."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return ["It is not JSON."]
    try:
        return violations(schema, document, limit)
    except UnusableSchemaError as error:
        return [f"It cannot be checked by the schema: {error}"]


def check_texts(schema: Mapping[str, Any], every: Sequence[str], limit: int = 1) -> list[dict[str, Any]]:
    """The job: the violations of each text, as many texts as fit."""
    return do_each(lambda text: violations_of_text(schema, text, limit), every)
