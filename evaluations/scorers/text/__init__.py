"""Scorers that compare texts."""
