"""Encryption, with the operator's keys, of secrets that must be read again, such as the keys of model providers.

ENCRYPTION_KEYS are Fernet keys, newest first: the first encrypts, every one decrypts. To rotate, put a new key in
front, run `manage.py rotate_secrets`, and remove the old one.
"""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from core.errors import Problem


def _keys() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.ENCRYPTION_KEYS])


def encrypt(secret: str) -> str:
    """Encrypt a secret; an empty one stays empty."""
    return _keys().encrypt(secret.encode()).decode() if secret else ""


def decrypt(stored: str) -> str:
    """Decrypt a secret; `secret.unreadable` where the key that encrypted it is gone."""
    try:
        return _keys().decrypt(stored.encode()).decode() if stored else ""
    except InvalidToken:
        raise Problem(
            "secret.unreadable", "This secret was encrypted with a key that is gone; enter it anew."
        ) from None


def rotate(stored: str) -> str:
    """Encrypt the same secret with the newest key."""
    return _keys().rotate(stored.encode()).decode() if stored else ""
