"""Conventions of all apps, no domain: work rows and their lease, REST, triggers, bulk copy, charts."""
