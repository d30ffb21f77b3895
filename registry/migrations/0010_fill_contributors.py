from django.db import migrations

# Who asked and who wrote, by hand or with their key, and who wrote the partials and examples that the version pins.
CONTRIBUTORS = """
WITH RECURSIVE pinned (promotion_id, version_id) AS (
    SELECT id, version_id FROM registry_promotion WHERE status IN ('open', 'approved')
    UNION
    SELECT pinned.promotion_id, inclusion.included_id
    FROM pinned JOIN registry_inclusion inclusion ON inclusion.version_id = pinned.version_id
)
INSERT INTO registry_promotioncontributor (promotion_id, user_id, reasons)
SELECT promotion_id, user_id, array_agg(DISTINCT reason ORDER BY reason) FROM (
    SELECT promotion.id AS promotion_id, coalesce(promotion.requested_by_id, key.created_by_id) AS user_id,
        'asked for this' AS reason
    FROM registry_promotion promotion LEFT JOIN registry_apikey key ON key.id = promotion.requested_by_key_id
    WHERE promotion.status IN ('open', 'approved')
    UNION
    SELECT pinned.promotion_id, coalesce(version.author_id, key.created_by_id),
        'wrote ' || prompt.name || '@' || version.number
    FROM pinned JOIN registry_promptversion version ON version.id = pinned.version_id
    JOIN registry_prompt prompt ON prompt.id = version.prompt_id
    LEFT JOIN registry_apikey key ON key.id = version.author_key_id
    UNION
    SELECT pinned.promotion_id, coalesce(examples.author_id, key.created_by_id),
        'wrote the examples ' || example_set.name || '@' || examples.number
    FROM pinned JOIN registry_promptversion version ON version.id = pinned.version_id
    JOIN registry_examplesetversion examples ON examples.id = version.example_set_id
    JOIN registry_exampleset example_set ON example_set.id = examples.example_set_id
    LEFT JOIN registry_apikey key ON key.id = examples.author_key_id
) AS done WHERE user_id IS NOT NULL GROUP BY promotion_id, user_id
"""
# Approvals so far did not know of all that; they are asked for again.
RULES = """
UPDATE registry_environment SET rules_revision = rules_revision + 1 WHERE protected AND id IN (
    SELECT environment_id FROM registry_promotion WHERE status IN ('open', 'approved')
)
"""
REOPENED = """
UPDATE registry_promotion SET status = 'open' WHERE status = 'approved' AND environment_id IN (
    SELECT id FROM registry_environment WHERE protected
)
"""


class Migration(migrations.Migration):

    dependencies = [("registry", "0009_contributors_owners_and_measured_checks")]

    # Keys of before have no owner: who made them answers for them, as they did.
    operations = [migrations.RunSQL([CONTRIBUTORS, RULES, REOPENED], migrations.RunSQL.noop)]
