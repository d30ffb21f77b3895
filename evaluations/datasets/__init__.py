"""Datasets: cases, files, splits and imports."""
