"""Scorers of what an answer took: time, tokens, money, length."""
