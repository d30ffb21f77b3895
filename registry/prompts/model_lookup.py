"""What is known of the models that versions name, in a project: apps above this one know its providers, and what people
have corrected there."""

from collections.abc import Callable

from registry.content.model_profiles.facts import ModelProfile, get_profile
from registry.models import Project

Lookup = Callable[[Project, str], ModelProfile | None]
_lookups: list[Lookup] = []


def register(lookup: Lookup) -> None:
    """Add an app's knowledge: it returns None of a model that it does not have."""
    _lookups.append(lookup)


def profile_in(project: Project, name: str) -> ModelProfile:
    """Return what is known of a model by this name in a project; published facts where nobody here has it."""
    profiles = (lookup(project, name) for lookup in _lookups if name)
    return next((profile for profile in profiles if profile is not None), None) or get_profile(name)
