"""Guards for templates and style sheets: what a reviewer has to be able to read line by line."""

import re
from pathlib import Path

import pytest
from django.template.loader import get_template

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
STYLES = sorted((ROOT / "static" / "css").glob("*.css"))
# The formatter breaks lines at 120; what it cannot break (a tag of Django's, a long attribute) may be as long as this.
MAX_LINE_LENGTH = 160
TWO_DECLARATIONS = re.compile(r"^\s*[\w-]+:[^;{]*;\s*[\w-]+:")


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


@pytest.mark.parametrize("path", TEMPLATES, ids=names(TEMPLATES))
def test_templates_compile_and_have_no_long_lines(path: Path):
    get_template(path.relative_to(ROOT / "templates").as_posix())

    lines = path.read_text(encoding="utf-8").splitlines()
    assert [number for number, line in enumerate(lines, 1) if len(line) > MAX_LINE_LENGTH] == []


@pytest.mark.parametrize("path", STYLES, ids=names(STYLES))
def test_style_sheets_have_one_declaration_a_line(path: Path):
    lines = path.read_text(encoding="utf-8").splitlines()

    assert [number for number, line in enumerate(lines, 1) if TWO_DECLARATIONS.match(line)] == []


def test_every_style_sheet_is_linked_in_the_order_of_the_cascade():
    links = (ROOT / "templates" / "_styles.html").read_text(encoding="utf-8")

    linked = re.findall(r"{% static '(css/[\w-]+\.css)' %}", links)
    assert sorted(linked) == [f"css/{path.name}" for path in STYLES]
    assert linked[0] == "css/tokens.css", "it names the layers"
