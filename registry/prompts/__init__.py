"""Prompts, versions, drafts, and how a reference finds a version."""
