"""The output has certain texts in it."""

from evaluations.scorers.base import Parameter, Parameters, Sample, Score, Scorer, ScoringContext, clipped


def score(sample: Sample, parameters: Parameters, _context: ScoringContext) -> Score | None:
    texts = [str(text) for text in parameters.get("texts") or ()]
    if not texts:
        if sample.expected is None:
            return None
        is_list = isinstance(sample.expected, list) and bool(sample.expected)
        texts = [str(text) for text in sample.expected] if is_list else [sample.expected_text]
    ignores_case = not parameters.get("case_sensitive", False)
    output = sample.output.casefold() if ignores_case else sample.output
    missing = [text for text in texts if (text.casefold() if ignores_case else text) not in output]
    if parameters.get("need", "all") == "any":
        return Score(1.0) if len(missing) < len(texts) else Score(0.0, f"Has none of: {clipped(', '.join(texts))}.")
    if not missing:
        return Score(1.0)
    return Score(1 - len(missing) / len(texts), f"Does not have: {clipped(', '.join(missing))}.")


SCORER = Scorer(
    "Contains",
    "The output has certain texts in it; where none are given, the expected one or ones.",
    score,
    (
        Parameter("texts", "texts", "Texts, one a line"),
        Parameter("need", "text", "How many of them", "all", choices=("all", "any")),
        Parameter("case_sensitive", "boolean", "Upper and lower case count", False),
    ),
    place=20,
)
