from django.apps import AppConfig


class EvaluationsConfig(AppConfig):
    """Measuring versions: providers, datasets, runs and comparisons. Imports registry, is imported by finetunes."""

    name = "evaluations"

    def ready(self) -> None:
        """Tell the registry what it cannot know: what else has an image."""
        from evaluations.curation import proposals  # noqa: PLC0415 - models are there only now
        from evaluations.playground import lifecycle as playground  # noqa: PLC0415
        from registry.images.uploads import register_use  # noqa: PLC0415

        register_use(proposals.image_use)
        register_use(playground.image_use)
