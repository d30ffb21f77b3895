"""The administration site: every model, read-only, and the verbs of operators.

Nothing is saved here by itself: forms and actions call the functions that the API calls, with the same rules and the
same audit entries. Insert-only rows are shown, never edited.
"""

from registry.admin import collections, examples, governance, operations, people, prompts

__all__ = ["collections", "examples", "governance", "operations", "people", "prompts"]
