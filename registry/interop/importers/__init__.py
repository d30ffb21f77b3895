"""Importers of other products' prompts, one file a product: a new one is a copy of another, and a line in IMPORTERS."""

from collections.abc import Mapping

from registry.interop.importers import langfuse, mlflow, openai, promptfoo
from registry.interop.importers.draft import Importer

IMPORTERS: Mapping[str, Importer] = {
    "openai": openai.IMPORTER,
    "langfuse": langfuse.IMPORTER,
    "promptfoo": promptfoo.IMPORTER,
    "mlflow": mlflow.IMPORTER,
}
