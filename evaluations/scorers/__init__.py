"""Scorers: how an output is judged. One file each, in the folder of its kind (text, structured,
measures); a new one is a copy of another, and its name is the file's.

Pure: usable without Django. A scorer is never the user's own code: what this list does not have is judged outside and
recorded over the API as a check.
"""

import functools
import importlib
import pkgutil
from collections.abc import Mapping

from evaluations.scorers.base import Scorer


@functools.cache
def all_scorers() -> Mapping[str, Scorer]:
    """Every scorer by its name, in the order in which people are offered them."""
    modules = (
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(__path__, f"{__name__}.")
        if not module.ispkg
    )
    scorers = {module.__name__.rpartition(".")[2]: module.SCORER for module in modules if hasattr(module, "SCORER")}
    return dict(sorted(scorers.items(), key=lambda item: (item[1].place, item[0])))
