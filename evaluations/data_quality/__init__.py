"""Leakage, near-duplicates and readiness of a dataset."""
