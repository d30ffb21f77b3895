"""What a case's expected sources and what was retrieved for it come to: who is relevant, by rank."""

from collections.abc import Sequence

from evaluations.scorers.base import SOURCES, Parameter, Parameters, Sample

CUTOFF = Parameter("k", "integer", "Of the first (all where empty)")


def expected_sources(sample: Sample) -> list[str]:
    """Return the documents that a case expects; none where it does not say, or says that there is no answer."""
    sources = sample.expected.get(SOURCES) if isinstance(sample.expected, dict) else None
    return list(dict.fromkeys(str(source) for source in sources)) if isinstance(sources, list) else []


def relevance_by_rank(sample: Sample, parameters: Parameters) -> list[bool] | None:
    """Return for each document that was retrieved, the best chunk first, whether it is expected; None where there is
    nothing to judge by. Several chunks of a document count once, at the first of them."""
    expected = expected_sources(sample)
    if not expected or sample.retrieved is None:
        return None
    sources = list(dict.fromkeys(str(chunk["source"]) for chunk in sample.retrieved))
    return [source in expected for source in cut(sources, parameters)]


def cut(sources: Sequence[str], parameters: Parameters) -> Sequence[str]:
    return sources[: int(parameters["k"])] if parameters.get("k") else sources


def missing_note(sample: Sample, parameters: Parameters) -> str:
    """Name the expected documents that were not retrieved."""
    retrieved = cut(list(dict.fromkeys(str(chunk["source"]) for chunk in sample.retrieved or ())), parameters)
    return ", ".join(source for source in expected_sources(sample) if source not in retrieved)[:200]
