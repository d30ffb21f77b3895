#!/usr/bin/env python
"""Cuebook's command line: `python manage.py up` starts everything, `python manage.py help` lists the rest."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.conf import settings  # noqa: PLC0415 - the message below is the reason
        from django.core.management import execute_from_command_line  # noqa: PLC0415
        from django.db import OperationalError  # noqa: PLC0415
    except ImportError as error:
        sys.exit(f"{error.name} is not installed for this Python. Run 'make install', then use .venv/bin/python.")
    try:
        execute_from_command_line(sys.argv)
    except OperationalError:
        if settings.PRODUCTION or settings.INSTANCE:
            raise
        where = settings.HOME.root
        sys.exit(f"No Cuebook runs in {where}. Start it with 'make run', or name another with CUEBOOK_HOME.")


if __name__ == "__main__":
    main()
