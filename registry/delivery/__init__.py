"""The hot path: answers from memory, in front of Django."""
