"""Monitors and drift of live calls."""
