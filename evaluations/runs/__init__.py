"""Evaluation runs: planned, worked through, scored, summed up."""
