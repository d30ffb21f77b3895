"""The evaluations' pages."""
