from django.apps import AppConfig


class InferenceAppConfig(AppConfig):
    """What serves and watches live traffic."""

    name = "inference"
