"""Protocols of fine-tuning, one file each: a new one is a copy of another, and its name is the file's. A provider's
settings say which one it speaks, and nothing else names them. Pure.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from urllib.parse import urlsplit

from finetunes.providers.base import TuningProtocol

COMPATIBLE = "compatible"
# The protocols of what comes with this installation, by the kinds of their providers.
OWN = ("sandbox", "local")
PROTOCOLS: Mapping[str, TuningProtocol] = {
    name: importlib.import_module(f"{__name__}.{name}").PROTOCOL
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__))
}


def protocol_of(base_url: str, kind: str = "") -> TuningProtocol:
    """Return the protocol of a kind of provider, or guess it by its address."""
    if kind in OWN:
        return PROTOCOLS[kind]
    host = (urlsplit(base_url).hostname or "").lower()
    matching = (
        protocol
        for protocol in PROTOCOLS.values()
        if any(host == end or (end.startswith(".") and host.endswith(end)) for end in protocol.hosts)
    )
    return next(matching, PROTOCOLS[COMPATIBLE])
