"""Scorers judge an output. One file each, in the folder of its kind (text, structured, measures); to add one, copy
another: its name is the file's.

Pure: usable without Django. A scorer is never the user's own code: anything else is judged outside and recorded over
the API as a check.
"""

import functools
import importlib
import pkgutil
from collections.abc import Mapping

from evaluations.scorers.base import Scorer


@functools.cache
def all_scorers() -> Mapping[str, Scorer]:
    """Return every scorer by its name, in the order in which users see them."""
    modules = (
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(__path__, f"{__name__}.")
        if not module.ispkg
    )
    scorers = {module.__name__.rpartition(".")[2]: module.SCORER for module in modules if hasattr(module, "SCORER")}
    return dict(sorted(scorers.items(), key=lambda named: (named[1].place, named[0])))
