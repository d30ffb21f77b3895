"""Checks of a content document, and its normal form. Pure: usable without Django.

Two documents that behave the same have the same normal form and so the same hash (registry.content.content_hash):

* text is Unicode NFC with line ends `\\n`; whole floats are integers;
* members that are null, empty or at their default are left out (core.content.DEFAULTS, docs/hash.md);
* nothing is added but `kind`, which every document has.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs

from core.content import DEFAULTS, KINDS, RESPONSE_FORMATS, SELECTIONS, VARIABLE_TYPES, has_type
from core.errors import Fault, Problem
from core.json_values import MAX_FAULTS, MAX_NUMBER, escape_pointer, normalise_json
from core.messages import FUNCTION_NAME
from core.model_settings import LIMITS, SAME_MEANING, setting_fault
from core.references import is_prompt_name
from core.retrieval import CONTEXT
from registry.content.checker import Checker, is_variable_name, without_defaults
from registry.content.content_hash import canonical_bytes
from registry.content.message_check import MessageChecker

MAX_BYTES = 1024 * 1024
MAX_VARIABLES = 500
RETRIEVAL_RANGES = {"k": (1, 100), "token_budget": (1, 1_000_000), "neighbours": (0, 10)}
MAX_FILTERS = 20

SETTING_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Parts of a provider request that have a member of their own here, or that the caller decides.
RESERVED_SETTINGS = frozenset({"messages", "stream", "stream_options", "tools", "response_format", "n", "model"})
SETTING_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    **dict.fromkeys(LIMITS, (1, 10_000_000)),
    "seed": (-MAX_NUMBER, MAX_NUMBER),
}
WHOLE_SETTINGS = frozenset({*LIMITS, "seed"})
SCHEMA_VERSIONS = frozenset(
    {
        "https://json-schema.org/draft/2020-12/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "http://json-schema.org/draft-07/schema#",
        "http://json-schema.org/draft-07/schema",
    }
)


def normalise(document: object) -> dict[str, Any]:
    """Return the normal form of a content document.

    Raises `content.invalid` with every fault found (up to MAX_FAULTS), each with a JSON pointer, or
    `content.too_large`.
    """
    faults: list[Fault] = []
    document = normalise_json(document, faults)
    if not faults:
        content = _ContentChecker(faults).content(document)
        if not faults:
            _refuse_large(content)
            return content
    reported = faults[:MAX_FAULTS]
    first = f"{reported[0].pointer or 'the document'}: {reported[0].message}"
    more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    raise Problem("content.invalid", f"{first}{more}", faults=reported)


def _refuse_large(content: dict[str, Any]) -> None:
    size = len(canonical_bytes(content))
    if size > MAX_BYTES:
        raise Problem("content.too_large", f"The content has {size:,} bytes; at most {MAX_BYTES:,} are kept.")


def _is_absent(value: object) -> bool:
    return value is None or value in ([], {})


class _ContentChecker(Checker):
    """Checks each member of a content."""

    def content(self, document: Any) -> dict[str, Any]:
        if not isinstance(document, dict):
            self.fault("", "type", "Must be an object.")
            return {}
        kind = document.get("kind") or "chat"
        if kind not in KINDS:
            self.fault("/kind", "choice", f"Must be one of: {', '.join(KINDS)}.")
            return {}
        content: dict[str, Any] = {"kind": kind}
        members: dict[str, Callable[[Any, str], Any]] = {
            "examples": self._examples,
            "includes": self._includes,
            "model": self._model,
            "response": self._response,
            "retrieval": self._retrieval,
            "tools": self._tools,
            "variables": self._variables,
        }
        body = "messages" if kind == "chat" else "text"
        members[body] = MessageChecker(self.faults).messages if kind == "chat" else self.template
        for name in document.keys() - members.keys() - {"kind"}:
            self.fault(f"/{escape_pointer(name)}", "unknown", f"A {kind} prompt has no such member.")
        if document.get(body) is None:
            self.fault(f"/{body}", "required", "Is required.")
        for name, check in members.items():
            if not _is_absent(document.get(name)) or (name == body and document.get(name) is not None):
                checked = check(document[name], f"/{name}")
                if not _is_absent(checked):
                    content[name] = checked
        if "retrieval" in content and CONTEXT in content.get("variables", {}):
            sentence = f"{CONTEXT} is what the search finds, and no variable."
            self.fault(f"/variables/{CONTEXT}", "contradiction", sentence)
        return content

    def _examples(self, value: Any, pointer: str) -> dict[str, Any]:
        allowed = frozenset({"set", "select", "k", "query", "embedder", "token_budget", "per_label"})
        examples = self.members(value, pointer, allowed)
        self.hash(examples.get("set"), f"{pointer}/set")
        select = examples.get("select", DEFAULTS["examples"]["select"])
        self.choice(select, f"{pointer}/select", SELECTIONS)
        for name in examples.keys() & {"k", "token_budget", "per_label"}:
            self.whole(examples[name], f"{pointer}/{name}", 1, 1_000_000)
        if "query" in examples:
            self.template(examples["query"], f"{pointer}/query")
        if "embedder" in examples and not isinstance(examples["embedder"], str):
            self.fault(f"{pointer}/embedder", "type", "Must be text.")
        return without_defaults(examples, DEFAULTS["examples"])

    def _retrieval(self, value: Any, pointer: str) -> dict[str, Any]:
        allowed = frozenset({"collection", "query", "k", "min_score", "token_budget", "neighbours", "filter"})
        retrieval = self.members(value, pointer, allowed)
        if not is_prompt_name(str(retrieval.get("collection", ""))):
            self.fault(f"{pointer}/collection", "name", "Must be a collection's name.")
        if "query" in retrieval:
            self.template(retrieval["query"], f"{pointer}/query")
        for name, (low, high) in RETRIEVAL_RANGES.items():
            if name in retrieval:
                self.whole(retrieval[name], f"{pointer}/{name}", low, high)
        score = retrieval.get("min_score", 0)
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            self.fault(f"{pointer}/min_score", "range", "Must be a number from 0 to 1.")
        filters = retrieval.get("filter", {})
        is_plain = isinstance(filters, dict) and len(filters) <= MAX_FILTERS
        if not is_plain or not all(isinstance(each, str | int | float | bool) for each in filters.values()):
            sentence = f"Must be at most {MAX_FILTERS} names with texts, numbers, true or false."
            self.fault(f"{pointer}/filter", "type", sentence)
        members = without_defaults(retrieval, DEFAULTS["retrieval"])
        return {name: member for name, member in members.items() if member != {}}

    def _includes(self, value: Any, pointer: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fault(pointer, "type", "Must be an object of names and hashes.")
            return {}
        for name, pinned in value.items():
            self.hash(pinned, f"{pointer}/{escape_pointer(name)}")
            if not is_prompt_name(name.partition("@")[0]):
                self.fault(f"{pointer}/{escape_pointer(name)}", "name", "Is not a prompt's name.")
        return value

    def _model(self, value: Any, pointer: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fault(pointer, "type", "Must be an object.")
            return {}
        settings = {name: setting for name, setting in value.items() if setting is not None}
        for name, setting in settings.items():
            self._setting(name, setting, f"{pointer}/{escape_pointer(name)}")
        # With two words for one thing, one of them would be dropped in silence.
        for first, *others in SAME_MEANING:
            if first in settings and (other := next((name for name in others if name in settings), None)):
                self.fault(f"{pointer}/{other}", "twice", f"Says the same as {first}; only one of them can be named.")
        return settings

    def _setting(self, name: str, value: Any, pointer: str) -> None:
        if name in RESERVED_SETTINGS or not SETTING_NAME.fullmatch(name):
            self.fault(pointer, "unknown", "Is not a model setting.")
        elif name == "name":
            if not isinstance(value, str) or not 1 <= len(value) <= 200:
                self.fault(pointer, "type", "Must be a model's name.")
        elif name in WHOLE_SETTINGS:
            low, high = SETTING_RANGES[name]
            self.whole(value, pointer, int(low), int(high))
        elif name in SETTING_RANGES:
            low, high = SETTING_RANGES[name]
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                self.fault(pointer, "range", f"Must be a number from {low} to {high}.")
        elif fault := setting_fault(name, value):
            self.fault(f"{pointer}{fault[0]}", "choice", fault[1])

    def _response(self, value: Any, pointer: str) -> dict[str, Any]:
        response = self.members(value, pointer, frozenset({"format", "schema", "name", "strict"}))
        form = response.get("format", DEFAULTS["response"]["format"])
        self.choice(form, f"{pointer}/format", RESPONSE_FORMATS)
        if form == "json_schema":
            if "schema" in response:
                self._schema(response["schema"], f"{pointer}/schema")
            else:
                self.fault(f"{pointer}/schema", "required", "A json_schema response needs its schema.")
        members = without_defaults(response, DEFAULTS["response"])
        for name in members.keys() & {"schema", "name", "strict"} if form != "json_schema" else ():
            self.fault(f"{pointer}/{name}", "unknown", "Belongs to a json_schema response only.")
        name = response.get("name", DEFAULTS["response"]["name"])
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            self.fault(f"{pointer}/name", "name", "Must be 1 to 64 letters, digits, _ or -.")
        if not isinstance(response.get("strict", False), bool):
            self.fault(f"{pointer}/strict", "type", "Must be true or false.")
        return members

    def _schema(self, value: Any, pointer: str) -> None:
        """Check a JSON Schema by its own meta-schema (2020-12 where it names none).

        Only well-known versions of JSON Schema may be named: the validator would fetch or open any other address.
        """
        if not isinstance(value, dict):
            return self.fault(pointer, "type", "A JSON Schema is an object here.")
        if not all(version in SCHEMA_VERSIONS for version in _schema_versions(value)):
            return self.fault(f"{pointer}/$schema", "choice", f"Must be one of: {', '.join(sorted(SCHEMA_VERSIONS))}.")
        try:
            jsonschema_rs.meta.validate(value)
        except jsonschema_rs.ValidationError as error:
            where = "".join(f"/{escape_pointer(str(part))}" for part in error.instance_path)
            return self.fault(f"{pointer}{where}", "schema", f"Not a JSON Schema: {error.message[:300]}")
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            return self.fault(pointer, "schema", f"Not a JSON Schema: {str(error)[:300]}")
        return None

    def _tools(self, value: Any, pointer: str) -> list[Any]:
        if not isinstance(value, list):
            self.fault(pointer, "type", "Must be a list of tools.")
            return []
        return [self._tool(tool, f"{pointer}/{index}") for index, tool in enumerate(value)]

    def _tool(self, tool: Any, pointer: str) -> Any:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or tool.get("type") != "function":
            return self.fault(pointer, "type", 'Must be {"type": "function", "function": {...}}.')
        name = function.get("name")
        if not isinstance(name, str) or not FUNCTION_NAME.fullmatch(name):
            self.fault(f"{pointer}/function/name", "name", "Must be 1 to 64 letters, digits, _ or -.")
        if function.get("parameters") is not None:
            self._schema(function["parameters"], f"{pointer}/function/parameters")
        present = {member: value for member, value in function.items() if value is not None}
        return {**tool, "function": without_defaults(present, DEFAULTS["function"])}

    def _variables(self, value: Any, pointer: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fault(pointer, "type", "Must be an object of variables.")
            return {}
        if len(value) > MAX_VARIABLES:
            self.fault(pointer, "count", f"Must be at most {MAX_VARIABLES} variables.")
            return {}
        return {
            name: self._variable(name, member, f"{pointer}/{escape_pointer(name)}") for name, member in value.items()
        }

    def _variable(self, name: str, value: Any, pointer: str) -> dict[str, Any]:
        if not is_variable_name(name):
            self.fault(pointer, "name", "A variable's name is letters, digits and _, and not reserved.")
        variable = self.members(value, pointer, frozenset({"type", "required", "default", "description"}))
        kind = variable.get("type", DEFAULTS["variable"]["type"])
        self.choice(kind, f"{pointer}/type", VARIABLE_TYPES)
        if not isinstance(variable.get("required", True), bool):
            self.fault(f"{pointer}/required", "type", "Must be true or false.")
        if not isinstance(variable.get("description", ""), str):
            self.fault(f"{pointer}/description", "type", "Must be text.")
        if "default" in variable:
            if variable.get("required"):
                self.fault(f"{pointer}/default", "contradiction", "A required variable has no default.")
            if kind in VARIABLE_TYPES and not has_type(variable["default"], kind):
                self.fault(f"{pointer}/default", "type", f"Must have the variable's type, {kind}.")
            # A default says by itself that the variable may be left out.
            variable.pop("required", None)
        return without_defaults(variable, {**DEFAULTS["variable"], "description": ""})


def _schema_versions(schema: Any) -> Iterator[object]:
    """Yield every `$schema` in a schema, however deep."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$schema"), str):
            yield schema["$schema"]
        for member in schema.values():
            yield from _schema_versions(member)
    elif isinstance(schema, list):
        for item in schema:
            yield from _schema_versions(item)
