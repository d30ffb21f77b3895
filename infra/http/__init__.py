"""Requests as they come in: their client, their id, their size, and what is refused."""
