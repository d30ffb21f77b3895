"""Benchmarks: each prints a Markdown table, measures what it compares in one run, and exits 1 where a bar falls."""
