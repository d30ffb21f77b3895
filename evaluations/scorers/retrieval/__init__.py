"""Scorers of what was retrieved for a case: whether its expected sources were found, and how early."""
