"""What the sandbox answers where documents come with the question."""

import pytest

from core.retrieval import Context
from evaluations.sandbox.reading import NO_ANSWER, read_documents

CHUNKS = [
    {
        "source": "billing/refunds.md",
        "title": "Refunds > Deadlines",
        "text": "## Deadlines\n\nMoney is back in 5 days.",
    },
    {"source": "data/export.md", "title": "Export", "text": "Tickets are written as CSV.\n\nEvery agent may do that."},
]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When do I get my money back?", "Money is back in 5 days. (billing/refunds.md)"),
        ("Can I have tickets as CSV?", "Tickets are written as CSV. (data/export.md)"),
        ("Zebra?", NO_ANSWER),
    ],
)
def test_the_nearest_sentence_answers(question: str, answer: str):
    assert read_documents(f"{Context(CHUNKS)}\n\n{question}") == answer


def test_where_nothing_was_retrieved_nothing_is_known():
    assert read_documents(f"{Context([])}\n\nWhen?") == NO_ANSWER
    assert read_documents("When do I get my money back?") is None
