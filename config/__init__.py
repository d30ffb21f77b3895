"""The deployable project: settings, URLs, the web and worker entry points, and the private servers."""

import gc
import os

# A start makes hundreds of thousands of objects that stay; looking for garbage among them is a quarter of its time.
gc.set_threshold(50_000, 20, 20)
# Before anything imports numpy: several processes with a thread a core each fight for the cores, and the same work
# takes many times as long.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from config.celery import app as celery_app  # noqa: E402

__all__ = ["celery_app"]
