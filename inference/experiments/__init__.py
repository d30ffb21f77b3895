"""Experiments: A/B tests in production, by weight and by subject, with statistics that may be looked at every day."""
