"""Scorers that measure an answer: time, tokens, cost, length."""
