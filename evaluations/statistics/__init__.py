"""Intervals, paired tests and verdicts. Pure."""
