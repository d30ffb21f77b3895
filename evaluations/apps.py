from django.apps import AppConfig


class EvaluationsConfig(AppConfig):
    """Measuring versions: providers, datasets, runs and comparisons. Imports registry, is imported by finetunes."""

    name = "evaluations"
