"""The content hash. Pure: a client recomputes it to verify what it fetched.

`sha256` over the RFC 8785 canonical form of a content document in normal form (registry.content.normalize), written
`sha256:<64 hex>`. docs/hash.md is the specification.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785


def canonical_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the RFC 8785 form: sorted members, no white space, numbers as ECMAScript writes them, UTF-8."""
    return rfc8785.dumps(dict(document))


def content_hash(document: Mapping[str, Any]) -> str:
    """Return the hash of a document in normal form."""
    return f"sha256:{hashlib.sha256(canonical_bytes(document)).hexdigest()}"
