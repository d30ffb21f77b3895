"""The author of a row."""

from django.db import models

from registry.models.people import APIKey, User


class ByActor(models.Model):
    """A row created by a user, an API key, or (neither of them) the command line; the name is as it was then."""

    by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    by_key = models.ForeignKey(APIKey, on_delete=models.PROTECT, null=True, related_name="+")
    by_name = models.CharField(max_length=200)

    class Meta:
        abstract = True
