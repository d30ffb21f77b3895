#!/usr/bin/env python
"""Cuebook's command line: `python manage.py up` starts everything, `python manage.py help` lists the rest."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line  # noqa: PLC0415 - the message below is the reason
    except ImportError as error:
        sys.exit(f"{error.name} is not installed for this Python. Run 'make install', then use .venv/bin/python.")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
