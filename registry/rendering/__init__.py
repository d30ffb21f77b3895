"""Rendering of untrusted templates, in child processes under limits."""
