"""Lines as SVG: within the picture, from zero, and described in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.charts import BOTTOM, LEFT, RIGHT, TOP, Point, line_chart, scatter_chart


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=80))
def test_every_dot_is_within_the_picture(values: list[int]):
    chart = line_chart("k", "T", [(f"v{n}", value) for n, value in enumerate(values)])

    assert all(LEFT <= dot.x <= RIGHT and TOP <= dot.y <= BOTTOM for dot in chart.marks)
    assert chart.ticks[0].label == "0"
    assert sum(1 for dot in chart.marks if dot.caption) <= 12


def test_the_axis_counts_in_round_steps_up_to_the_highest_value_or_the_limit():
    chart = line_chart("k", "Tokens", [("v1", 130), ("v2", 247)], limit=("limit", 1_000))

    assert [tick.label for tick in chart.ticks] == ["0", "500", "1,000"]
    assert chart.limit is not None
    assert chart.limit.y == TOP


def test_the_description_says_what_the_line_shows():
    assert line_chart("k", "Tokens", [("v1", 130)], unit="tokens").description == "Tokens: v1: 130 tokens"


@pytest.mark.parametrize("values", [[], [("v1", 0)]])
def test_nothing_and_zero_are_charts_too(values: list[tuple[str, float]]):
    assert line_chart("k", "T", values).ticks


def test_spots_stand_where_their_figures_are_and_say_them_in_words():
    chart = scatter_chart(
        "key",
        "Quality against cost",
        [
            Point("a", 0.0, 0.5, 0.4, 0.6, "0.50, $0.00"),
            Point("b", 2.0, 0.9, None, None, "0.90, $2.00", is_chosen=True, size=400.0),
            Point("c", 2.0, 0.9, None, None, "0.90, $2.00"),
        ],
        across="US dollars",
        form="${:g}",
        limit=("at least 0.8", 0.8),
    )

    first, second = chart.spots
    assert (first.x, second.name, second.is_chosen) == (chart.left, "b, c", True)
    assert first.y > second.y
    assert first.low is not None
    assert first.high is not None
    assert first.low > first.y > first.high
    assert chart.limit is not None
    assert second.y < chart.limit.y < first.y
    assert [step.label for step in chart.steps] == ["$0", "$0.5", "$1", "$1.5", "$2"]
    assert "a: 0.50, $0.00" in chart.description
    assert (first.radius, second.radius) == (4.0, 11.0)
