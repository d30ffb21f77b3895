"""The template language: Jinja2, cut down to what a prompt needs. Pure: usable without Django.

User-edited templates are hostile input. Jinja's sandbox keeps a template from reaching Python, but it limits neither
time nor memory, and it runs filters already while compiling (constant folding). So:

1. the source is only parsed, and its syntax tree checked against an allow-list (`analyse`);
2. compiling and rendering happen in a child process under limits wherever the template is not trusted
   (registry.rendering.pool); this module alone promises no limit but the size of the output.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, NoReturn

from jinja2 import StrictUndefined, TemplateSyntaxError, meta, nodes
from jinja2.exceptions import TemplateError
from jinja2.loaders import DictLoader
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from .errors import Problem
from .retrieval import Context

MAX_NODES = 5_000
MAX_LOOP_DEPTH = 2
MAX_RANGE = 1_000

ALLOWED_NODES: frozenset[type[nodes.Node]] = frozenset(
    {
        *(
            nodes.Template,
            nodes.Output,
            nodes.TemplateData,
            nodes.Name,
            nodes.Const,
            nodes.Getattr,
            nodes.Getitem,
        ),
        *(
            nodes.Slice,
            nodes.If,
            nodes.For,
            nodes.Assign,
            nodes.Include,
            nodes.Filter,
            nodes.Test,
            nodes.Keyword,
        ),
        *(nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.CondExpr),
        *(nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair, nodes.Concat, nodes.Add, nodes.Sub, nodes.Call),
    }
)
ALLOWED_FILTERS = frozenset(
    [
        "abs",
        "capitalize",
        "count",
        "d",
        "default",
        "dictsort",
        "e",
        "escape",
        "first",
        "float",
        "int",
        "items",
        "join",
        "last",
        "length",
        "list",
        "lower",
        "map",
        "max",
        "min",
        "reject",
        "rejectattr",
        "replace",
        "reverse",
        "round",
        "select",
        "selectattr",
        "sort",
        "string",
        "sum",
        "title",
        "tojson",
        "trim",
        "truncate",
        "unique",
        "upper",
        "urlencode",
        "wordcount",
    ]
)
ALLOWED_TESTS = frozenset(
    [
        "boolean",
        "defined",
        "divisibleby",
        "eq",
        "equalto",
        "even",
        "false",
        "float",
        "ge",
        "gt",
        "greaterthan",
        "in",
        "integer",
        "iterable",
        "le",
        "lessthan",
        "lower",
        "lt",
        "mapping",
        "ne",
        "none",
        "number",
        "odd",
        "sequence",
        "string",
        "true",
        "undefined",
        "upper",
    ]
)
# The only function that a template may call: {{ range(n) }}, bounded below.
ALLOWED_CALLS = frozenset({"range"})
RESERVED_NAMES = frozenset({"range", "loop"})


@dataclass(frozen=True)
class Analysis:
    """The variables and includes of a template's source, without running it."""

    variables: frozenset[str]
    includes: tuple[str, ...]


class MissingVariable(StrictUndefined):
    """An undefined value names itself when it is used, so that the caller learns what to pass."""

    __slots__ = ()

    def _fail_with_undefined_error(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        if self._undefined_hint is None and self._undefined_name is not None:
            name = str(self._undefined_name)
            what = "variable" if self._undefined_obj is missing else "member"
            raise Problem(
                "render.missing_variable",
                f"The template uses the {what} {name}, which was not passed.",
                variable=name,
            )
        raise Problem("render.missing_variable", self._undefined_message)

    # A list of undefined values must not be written as their repr().
    __iter__ = __str__ = __repr__ = __len__ = _fail_with_undefined_error
    __eq__ = __ne__ = __bool__ = __hash__ = __contains__ = _fail_with_undefined_error
    __add__ = __radd__ = __sub__ = __rsub__ = __neg__ = __pos__ = _fail_with_undefined_error
    __lt__ = __le__ = __gt__ = __ge__ = __int__ = __float__ = __getitem__ = _fail_with_undefined_error

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._fail_with_undefined_error()


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """Jinja with listed filters and tests only, and includes that resolve by the including version's pins.

    A template's name is `<version hash>` or `<version hash><JSON pointer>`; `pins` maps a version's hash to what its
    includes stand for (name to hash). So two partials may pin different versions of a third.
    """

    def __init__(
        self, sources: Mapping[str, str] | None = None, pins: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        super().__init__(
            loader=DictLoader(dict(sources or {})),
            undefined=MissingVariable,
            finalize=write_value,
            autoescape=False,
            keep_trailing_newline=True,
            cache_size=0,
        )
        self._pins = pins or {}
        self.filters = {
            name: _without_iterators(function) for name, function in self.filters.items() if name in ALLOWED_FILTERS
        }
        self.filters["tojson"] = as_json
        self.tests = {name: function for name, function in self.tests.items() if name in ALLOWED_TESTS}
        self.globals = {"range": bounded_range}

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self._member(super().getattr(obj, attribute), obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return self._member(super().getitem(obj, argument), obj, argument)

    def _member(self, value: Any, obj: Any, name: Any) -> Any:
        """Return a member of the caller's own. Methods are Python's: nothing may call them, as text they are addresses
        in memory, and they would hide a member of the same name (`items`)."""
        if isinstance(value, MissingVariable) or not callable(value):
            return value
        try:
            return obj[name]
        except (TypeError, LookupError, AttributeError):
            return self.undefined(obj=obj, name=name)

    def join_path(self, template: str, parent: str) -> str:
        return self._pins.get(parent.partition("/")[0], {}).get(template, template)


def _without_iterators(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a filter return a list where it returned an iterator, whose text is an address in memory."""

    @wraps(function)
    def filtered(*arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        return list(result) if isinstance(result, Iterator) else result

    return filtered


def write_value(value: Any) -> Any:
    """Write `{{ value }}`: text as it is, what was found framed as documents, anything else as JSON."""
    if isinstance(value, str | MissingVariable):
        return value
    return str(value) if isinstance(value, Context) else as_json(value)


def as_json(value: Any, indent: int | None = None) -> str:
    """Write JSON with readable characters; unlike Jinja's own `tojson` nothing is escaped for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=min(indent, 8) if indent else None, default=_json_default)


def _json_default(value: Any) -> Any:
    """Convert the results of filters and range() to lists; anything else, such as a method, is refused."""
    if isinstance(value, range | Iterator):
        return list(value)
    if isinstance(value, MissingVariable):
        return str(value)  # which says that it is missing
    raise TypeError(f"a {type(value).__name__} cannot be written")


def bounded_range(*arguments: int) -> range:
    """Return a `range` of at most MAX_RANGE steps."""
    steps = range(*arguments)
    if len(steps) > MAX_RANGE:
        raise Problem("template.too_expensive", f"range() has {len(steps):,} steps; at most {MAX_RANGE:,} are allowed.")
    return steps


def analyse(source: str, pointer: str = "") -> Analysis:
    """Check a template against the language, without running it.

    Returns its undeclared variables and what it includes. Raises `template.syntax`, `template.not_allowed` or
    `template.too_complex`, each with `pointer` and `line`.
    """
    environment = PromptEnvironment()
    _check_hyphens(source, pointer)
    try:
        tree = environment.parse(source)
        _check_tree(tree, pointer)
        variables = meta.find_undeclared_variables(tree)
    except TemplateSyntaxError as error:
        # An unknown filter or test is a TemplateAssertionError, which is a syntax error to Jinja.
        raise Problem(
            "template.syntax",
            f"{_syntax_sentence(error.message or '')} (line {error.lineno})",
            pointer=pointer,
            line=error.lineno,
        ) from None
    except (RecursionError, SyntaxError, MemoryError):
        raise Problem("template.too_complex", "The template is nested too deeply.", pointer=pointer) from None
    except (ValueError, OverflowError, ArithmeticError, TemplateError, TypeError) as error:
        # Numbers of ten thousand digits, and constants that fail when folded.
        raise Problem("template.syntax", f"The template cannot be compiled: {error}", pointer=pointer) from None
    includes = tuple(dict.fromkeys(node.template.value for node in tree.find_all(nodes.Include)))  # type: ignore[attr-defined]  # _check_tree: a constant
    return Analysis(frozenset(variables - ALLOWED_CALLS), includes)


def _check_tree(tree: nodes.Template, pointer: str) -> None:
    for count, (node, loops) in enumerate(_walk(tree)):
        if count > MAX_NODES:
            raise Problem("template.too_complex", f"The template has more than {MAX_NODES:,} parts.", pointer=pointer)
        line = _line(node)
        if loops > MAX_LOOP_DEPTH:
            sentence = f"Loops are nested more than {MAX_LOOP_DEPTH} deep (line {line})."
            raise Problem("template.too_complex", sentence, pointer=pointer, line=line)
        refusal = _forbidden_reason(node)
        if refusal:
            raise Problem("template.not_allowed", f"{refusal} (line {line})", pointer=pointer, line=line)


def _line(node: nodes.Node) -> int | None:
    """Return a node's line; a few nodes know it only from their children."""
    nodes_with_lines = (node, *node.iter_child_nodes())
    return next((candidate.lineno for candidate in nodes_with_lines if candidate.lineno is not None), None)


def _walk(tree: nodes.Template) -> Iterator[tuple[nodes.Node, int]]:
    """Yield every node with the number of loops around it (itself included), without recursion."""
    waiting: list[tuple[nodes.Node, int]] = [(tree, 0)]
    while waiting:
        node, loops = waiting.pop()
        loops += isinstance(node, nodes.For)
        yield node, loops
        waiting.extend((child, loops) for child in node.iter_child_nodes())


def _forbidden_reason(node: nodes.Node) -> str | None:
    """Return why a node is not allowed in a prompt, or None where it is."""
    if type(node) not in ALLOWED_NODES:
        return f"“{type(node).__name__}” is not part of the template language of prompts"
    if isinstance(node, nodes.Filter) and node.name not in ALLOWED_FILTERS:
        return f"The filter “{node.name}” is not available in prompts"
    if isinstance(node, nodes.Test) and node.name not in ALLOWED_TESTS:
        return f"The test “{node.name}” is not available in prompts"
    if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        return f"The attribute “{node.attr}” is private"
    if isinstance(node, nodes.Call) and not (isinstance(node.node, nodes.Name) and node.node.name in ALLOWED_CALLS):
        return "Only range() can be called"
    if isinstance(node, nodes.Assign) and not isinstance(node.target, nodes.Name):
        return "Only a plain name can be set"
    if isinstance(node, nodes.Name) and node.name == "self":
        return "“self” is not part of the template language of prompts"
    if isinstance(node, nodes.Name) and node.ctx != "load" and node.name in RESERVED_NAMES:
        return f"“{node.name}” has a meaning of its own and cannot be set"
    if isinstance(node, nodes.For) and node.recursive:
        return "A loop cannot be recursive"
    if isinstance(node, nodes.Include):
        if not isinstance(node.template, nodes.Const) or not isinstance(node.template.value, str):
            return "An include names its prompt as plain text in quotes"
        if node.ignore_missing:
            return "An include cannot ignore that its prompt is missing"
    return None


# {{ user-name }} and nothing else: to Jinja a subtraction, to its writer a name.
HYPHENATED = re.compile(r"\{\{-?[ \t]*([^\W\d]\w*(?:-[^\W\d]\w*)+)[ \t]*-?\}\}")


def _check_hyphens(source: str, pointer: str) -> None:
    match = HYPHENATED.search(source)
    if match:
        name, line = match[1], source.count("\n", 0, match.start()) + 1
        sentence = (
            f"{{{{ {name} }}}} would subtract: a variable's name has no hyphen. Name it {name.replace('-', '_')}, "
            f"or write {name.replace('-', ' - ')} to subtract (line {line})"
        )
        raise Problem("template.syntax", sentence, pointer=pointer, line=line)


def _syntax_sentence(message: str) -> str:
    """Say what is wrong in the words of who writes prompts; braces as text (JSON, LaTeX) are the usual reason."""
    message = message[:300].rstrip(".")
    if "end of comment" in message:
        return "{# begins a comment, and no #} ends it. To write {# as text: {{ '{#' }}"
    if "end of print statement" in message or message.startswith("unexpected '"):
        return f"{{{{ begins a variable, and what follows is none: {message}. To write {{{{ as text: {{{{ '{{{{' }}}}"
    return message
