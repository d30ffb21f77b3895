from django.apps import AppConfig


class ConfigAppConfig(AppConfig):
    """The composition root: settings, addresses, the private servers, and the command that runs an instance."""

    name = "config"
