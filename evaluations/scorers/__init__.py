"""Scorers: how an output is judged. One file each; a new one is a copy of another, and its name is the file's.

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
    names = [module.name for module in pkgutil.iter_modules(__path__) if module.name != "base"]
    found = {name: importlib.import_module(f"{__name__}.{name}").SCORER for name in names}
    return dict(sorted(found.items(), key=lambda item: (item[1].place, item[0])))
