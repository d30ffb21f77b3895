"""Texts of calls: kept where a project says so, sampled, redacted, and for some days."""
