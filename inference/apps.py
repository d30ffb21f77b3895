from django.apps import AppConfig


class InferenceAppConfig(AppConfig):
    """App of inference configs, live calls and monitors."""

    name = "inference"
