from django.apps import AppConfig


class FinetunesConfig(AppConfig):
    """Closing the loop: training sets, fine-tune jobs and strategy. Imports evaluations and registry."""

    name = "finetunes"
