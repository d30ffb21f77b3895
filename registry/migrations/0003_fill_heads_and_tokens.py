import pgtrigger
from django.db import migrations

from core.content import full_text
from registry.content import tokens


def fill(apps, schema_editor):
    """Count each version's tokens (what it includes is older than itself) and point each prompt to its newest one."""
    PromptVersion = apps.get_model("registry", "PromptVersion")
    Inclusion = apps.get_model("registry", "Inclusion")
    Prompt = apps.get_model("registry", "Prompt")
    included = {}
    for version_id, included_id in Inclusion.objects.values_list("version_id", "included_id"):
        included.setdefault(version_id, []).append(included_id)
    counted = {}
    # Versions are insert-only; this fills a column that did not exist when they were inserted.
    with pgtrigger.ignore("registry.PromptVersion:refuse_change"):
        for version in PromptVersion.objects.order_by("pk").only("pk", "content").iterator(chunk_size=500):
            model = str(version.content.get("model", {}).get("name", ""))
            own = tokens.count(full_text(version.content), model).tokens
            counted[version.pk] = own + sum(counted[pk] for pk in included.get(version.pk, ()))
            PromptVersion.objects.filter(pk=version.pk).update(tokens=counted[version.pk])
    newest = PromptVersion.objects.order_by("prompt_id", "-number").distinct("prompt_id").only("pk", "prompt_id", "content")
    for version in newest.iterator(chunk_size=500):
        Prompt.objects.filter(pk=version.prompt_id).update(head_id=version.pk, head_text=full_text(version.content))


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0002_heads_tokens_drafts'),
    ]

    operations = [
        # Going back drops the columns, so there is nothing to undo.
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
