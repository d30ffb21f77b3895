"""Are the demo's tickets what their README says, and is none of them nearly another?

`python -m evaluations.demo_data.check` counts, and fails on near duplicates.
"""

import json
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

from evaluations.data_quality.near_duplicates import jaccard
from evaluations.datasets.cases import compared

HERE = Path(__file__).parent
TICKETS = HERE / "support.tickets.jsonl"
SHOTS = HERE.parent.parent / "registry" / "demo_prompts" / "support.tickets.jsonl"
# Tickets of one product share words; more than this is the same ticket told again.
NEAREST = 0.5
FEWEST_A_CLASS = 40


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def check() -> tuple[dict[str, Any], list[str]]:
    """What was counted, and what is wrong."""
    tickets = lines(TICKETS)
    texts = {f"ticket {number}": one["variables"]["ticket"] for number, one in enumerate(tickets, start=1)}
    texts |= {f"example {number}": one["input"] for number, one in enumerate(lines(SHOTS), start=1)}
    forms = {name: compared(text) for name, text in texts.items()}
    pairs = ((jaccard(forms[one], forms[other]), one, other) for one, other in combinations(forms, 2))
    near = sorted((pair for pair in pairs if pair[0] > NEAREST / 2), reverse=True)
    classes = Counter(one["expected"]["category"] for one in tickets)
    tags = Counter(tag for one in tickets for tag in one.get("tags", ()))
    counted = {
        "tickets": len(tickets),
        "classes": dict(classes),
        "tags": dict(tags.most_common()),
        "threads": len({one["group"] for one in tickets if "group" in one}),
        "nearest": [f"{similarity:.2f} {one}, {other}" for similarity, one, other in near[:3]],
    }
    wrong = [
        f"{one} and {other} are nearly the same ({similarity:.2f})"
        for similarity, one, other in near
        if similarity > NEAREST
    ]
    wrong += [f"only {count} tickets of {name}" for name, count in classes.items() if count < FEWEST_A_CLASS]
    return counted, wrong


def main() -> int:
    counted, wrong = check()
    sys.stdout.write(json.dumps(counted, indent=2, ensure_ascii=False) + "\n")
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
