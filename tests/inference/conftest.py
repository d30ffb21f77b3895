"""Fixtures of live traffic: those of runs, which calls are compared with."""

from tests.evaluations.conftest import model, run, sandbox, tickets, version

__all__ = ["model", "run", "sandbox", "tickets", "version"]
