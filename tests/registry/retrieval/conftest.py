from typing import Any

import pytest

from registry.models import Collection
from registry.retrieval import collections, documents, indexing
from tests.conftest import Stage

REFUNDS = b"""# Refunds

You get your money back within 14 days of the purchase.

## Abroad

Other rules hold in Norway.
"""
EXPORT = b"# Export\n\nOpen the settings and choose CSV to export your tickets.\n"
INCIDENTS = b"# Incidents\n\nWhen the site is down, look at the status page first.\n"


@pytest.fixture
def handbook(stage: Stage) -> Collection:
    """A collection of three documents, embedded by the model that comes with Cuebook."""
    return make_handbook(stage)


def make_handbook(stage: Stage, **members: Any) -> Collection:
    collection = collections.create(stage.edith, name="handbook", **members)
    for path, data in {"refunds.md": REFUNDS, "data/export.md": EXPORT, "ops/incidents.md": INCIDENTS}.items():
        documents.put(stage.edith, collection, path, data)
    embed(collection)
    return collection


def embed(collection: Collection) -> None:
    """Do what a worker would."""
    for embedding in indexing.claimable_embeddings().filter(collection=collection):
        indexing.embed_missing(embedding)
