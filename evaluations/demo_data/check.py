"""Check of the demo's tickets against their README and for near duplicates.

`python -m evaluations.demo_data.check` counts, and fails on near duplicates.
"""

import json
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

from evaluations.data_quality.near_duplicates import jaccard
from evaluations.datasets.cases import comparison_form

HERE = Path(__file__).parent
TICKETS = HERE / "support.tickets.jsonl"
SHOTS = HERE.parent.parent / "registry" / "demo_prompts" / "support.tickets.jsonl"
# Tickets of one product share words; a higher similarity means the same ticket again.
MAX_SIMILARITY = 0.5
MIN_TICKETS_OF_CLASS = 40


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def check() -> tuple[dict[str, Any], list[str]]:
    """Return the counts and the errors."""
    tickets = read_lines(TICKETS)
    texts = {f"ticket {number}": ticket["variables"]["ticket"] for number, ticket in enumerate(tickets, start=1)}
    texts |= {f"example {number}": example["input"] for number, example in enumerate(read_lines(SHOTS), start=1)}
    forms = {name: comparison_form(text) for name, text in texts.items()}
    pairs = ((jaccard(forms[first], forms[second]), first, second) for first, second in combinations(forms, 2))
    near = sorted((pair for pair in pairs if pair[0] > MAX_SIMILARITY / 2), reverse=True)
    classes = Counter(ticket["expected"]["category"] for ticket in tickets)
    tags = Counter(tag for ticket in tickets for tag in ticket.get("tags", ()))
    counted = {
        "tickets": len(tickets),
        "classes": dict(classes),
        "tags": dict(tags.most_common()),
        "threads": len({ticket["group"] for ticket in tickets if "group" in ticket}),
        "nearest": [f"{similarity:.2f} {first}, {second}" for similarity, first, second in near[:3]],
    }
    wrong = [
        f"{first} and {second} are nearly the same ({similarity:.2f})"
        for similarity, first, second in near
        if similarity > MAX_SIMILARITY
    ]
    wrong += [f"only {count} tickets of {name}" for name, count in classes.items() if count < MIN_TICKETS_OF_CLASS]
    return counted, wrong


def main() -> int:
    counted, wrong = check()
    sys.stdout.write(json.dumps(counted, indent=2, ensure_ascii=False) + "\n")
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
