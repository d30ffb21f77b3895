"""The deployable project: settings, URLs, the web and worker entry points, and the private servers."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
