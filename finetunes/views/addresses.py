"""Addresses of the fine-tunes' pages."""

from django.urls import reverse

from registry.access import Actor


def to(name: str, actor: Actor, *args: object) -> str:
    """The address of a page of the actor's project."""
    return reverse(f"finetunes:{name}", args=[actor.project.slug, *args])
