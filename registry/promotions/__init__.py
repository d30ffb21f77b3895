"""Environments, promotions, approvals, checks and releases."""
