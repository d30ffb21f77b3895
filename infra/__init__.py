"""Conventions of all apps, no domain: work rows and their lease, REST, triggers, bulk copy, charts."""

# Whoever uses any module of this app has its codes.
from infra import errors as errors
