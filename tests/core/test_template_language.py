"""The template language: what is in, what is out, and that looking at a template runs nothing."""

import pytest

from core.errors import Problem
from core.template_language import analyse


@pytest.mark.parametrize(
    ("source", "variables"),
    [
        ("Hello", set()),
        ("{{ name }}", {"name"}),
        ("{{ ticket.subject | default('none') | truncate(80) }}", {"ticket"}),
        ("{% if tone is defined and tone == 'formal' %}Dear{% else %}Hi{% endif %}", {"tone"}),
        (
            "{% for row in rows %}{% for cell in row %}{{ loop.index }} {{ cell }}{% endfor %}{% endfor %}",
            {"rows"},
        ),
        ("{% set shown = notes[:3] %}{{ shown | join(', ') }}", {"notes"}),
        ("{% for n in range(3) %}{{ n }}{% endfor %}", set()),
        ("{{ {'a': [1, 2]} | tojson }} {{ a ~ b + c - d }}", {"a", "b", "c", "d"}),
        ("{{ people | selectattr('active') | map(attribute='name') | join }}", {"people"}),
        ("{# a comment #}{{ 'x' if y else 'z' }}{{ -n }}{% raw %}{{ not_this }}{% endraw %}", {"y", "n"}),
    ],
)
def test_what_prompts_need_is_allowed(source: str, variables: set[str]):
    assert analyse(source).variables == variables


def test_includes_are_named():
    assert analyse("{% include 'shared.tone' %}{% include 'legal@3' %}{% include 'shared.tone' %}").includes == (
        "shared.tone",
        "legal@3",
    )


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 2000000000 }}",
        "{{ [0] * 500000000 }}",
        "{{ 2 ** 99999999 }}",
        "{{ '%1500000000d' % 1 }}",
        "{{ '%1500000000d' | format(1) }}",
        "{{ '{:1500000000}'.format(1) }}",
        "{{ 'x'.ljust(2000000000) }}",
        "{{ 'x' | center(2000000000) }}",
        "{{ 'x' | indent(2000000000) }}",
        "{{ [1] | batch(100000000, 0) | list }}",
        "{{ [1] | slice(100000000) | list }}",
        "{{ lipsum(n=1000000) }}",
        "{% set ns = namespace(x='a') %}",
        "{% set ns.x = 'a' %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% call m() %}{% endcall %}",
        "{% filter upper %}x{% endfilter %}",
        "{% set x %}block{% endset %}",
        "{% with x = 1 %}{% endwith %}",
        "{% block x %}{% endblock %}",
        "{% extends 'x' %}",
        "{% import 'x' as y %}",
        "{% from 'x' import y %}",
        "{% include name %}",
        "{% include ['a', 'b'] %}",
        "{% include 'a' ignore missing %}",
        "{{ ''.__class__.__mro__ }}",
        "{{ x._private }}",
        "{{ x | attr('__class__') }}",
        "{{ x | xmlattr }}",
        "{{ cycler('a') }}",
        "{{ joiner() }}",
        "{{ dict(a=1) }}",
        "{{ self }}{{ self.x() }}",
        "{{ x() }}",
        "{{ x.items() }}",
        "{{ range.__init__ }}",
        "{% for x in y recursive %}{{ loop(x) }}{% endfor %}",
        "{% autoescape true %}{% endautoescape %}",
        "{% do x %}",
        "{% for a in b %}{% break %}{% endfor %}",
        "{% set range = 'x'.center %}{{ range(100000000) }}",
        "{% for range in [x.y] %}{{ range(1) }}{% endfor %}",
        "{% set loop = 1 %}",
        "{{ x | nonsense }}",
        "{{ x is nonsense }}",
    ],
)
def test_what_prompts_do_not_need_is_refused_with_its_line(source: str):
    with pytest.raises(Problem) as refused:
        analyse(f"First line\n{source}")

    assert refused.value.code in {"template.not_allowed", "template.syntax"}
    assert refused.value.members["line"] == 2


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in x %}" * 3 + "{% endfor %}" * 3,
        "{% for a in x %}" * 25 + "{% endfor %}" * 25,
        "{{ " + "(" * 900 + "1" + ")" * 900 + " }}",
        "{{ " + "not " * 5000 + "x }}",
        "{{ x }}" * 6000,
        "{% if x %}" * 900 + "{% endif %}" * 900,
    ],
)
def test_what_is_nested_too_deeply_or_too_large_is_refused(source: str):
    with pytest.raises(Problem) as refused:
        analyse(source)

    assert refused.value.code in {"template.too_complex", "template.syntax"}


@pytest.mark.parametrize(
    "source", ["{{", "{% if %}", "{% endif %}", "{{ a b }}", "{{ 'a }}", "{% for x %}{% endfor %}"]
)
def test_a_syntax_error_names_its_line(source: str):
    with pytest.raises(Problem) as refused:
        analyse(f"\n\n{source}")

    assert refused.value.code == "template.syntax"
    assert refused.value.members["line"] == 3


def test_a_number_of_ten_thousand_digits_is_refused():
    with pytest.raises(Problem) as refused:
        analyse("{{ " + "9" * 10_000 + " }}")

    assert refused.value.code == "template.syntax"
