"""Comparisons of runs, model sweeps and gates."""
