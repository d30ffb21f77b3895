"""What is known of the models that versions name, in a project: apps above this one know its providers, and what people
have corrected there."""

from collections.abc import Callable, Mapping
from typing import Any

from registry.content.lint import Finding, Subject, refused_by_model
from registry.content.model_profiles.facts import ModelProfile, get_profile
from registry.models import Project

Lookup = Callable[[Project, str], ModelProfile | None]
_lookups: list[Lookup] = []


def register(lookup: Lookup) -> None:
    """Add an app's knowledge: it returns None of a model that it does not have."""
    _lookups.append(lookup)


def findings_on_model(project: Project, content: Mapping[str, Any]) -> list[Finding]:
    """Return what a content's model refuses of it, and that it ends, as the editor says it."""
    name = str(content.get("model", {}).get("name", ""))
    subject = Subject(content, frozenset(), None, profile=profile_in(project, name))
    return list(refused_by_model(subject))


def profile_in(project: Project, name: str) -> ModelProfile:
    """Return what is known of a model by this name in a project; published facts where nobody here has it."""
    profiles = (lookup(project, name) for lookup in _lookups if name)
    return next((profile for profile in profiles if profile is not None), None) or get_profile(name)
