"""Scorers of labels, numbers, fields and JSON."""
