"""Guides: a task from its definition to a watched deployment."""
