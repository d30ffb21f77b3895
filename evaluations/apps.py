from django.apps import AppConfig


class EvaluationsConfig(AppConfig):
    """Measuring versions: providers, datasets, runs and comparisons. Imports registry, is imported by finetunes."""

    name = "evaluations"

    def ready(self) -> None:
        """Tell the registry what it cannot know: what else has an image."""
        from evaluations.curation.proposals import image_use  # noqa: PLC0415 - models are there only now
        from registry.images.uploads import register_use  # noqa: PLC0415

        register_use(image_use)
