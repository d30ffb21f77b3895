"""Re-encrypts stored secrets with the newest key."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from evaluations.models import Provider
from infra import encryption


class Command(BaseCommand):
    help = "Encrypt the providers' keys with the first of ENCRYPTION_KEYS, so that the others can be removed."

    def handle(self, *_: object, **__: Any) -> None:
        with transaction.atomic():
            rows = list(Provider.objects.select_for_update().exclude(encrypted_key=""))
            for provider in rows:
                provider.encrypted_key = encryption.rotate(provider.encrypted_key)
            Provider.objects.bulk_update(rows, ["encrypted_key"], batch_size=500)
        self.stdout.write(f"{len(rows)} keys encrypted with the newest key.")
