from django.apps import AppConfig


class RegistryConfig(AppConfig):
    """Prompts, versions, environments, promotions, access and audit."""

    name = "registry"
    verbose_name = "Prompt registry"
