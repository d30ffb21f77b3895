"""Codes of refusals of accounts, prompts, promotions and import. Part of the contract: never renamed."""

from core.errors import Kind, declare

declare(
    {
        # The request itself
        "request.precondition": Kind(412, "What you saw has changed meanwhile"),
        "server.busy": Kind(503, "More is asked than can be done just now"),
        # Who is asking
        "auth.no_project": Kind(400, "Say which project"),
        # Projects, members and keys
        "project.name_taken": Kind(409, "A project with this slug exists"),
        "project.invalid_name": Kind(400, "This cannot be a project's slug"),
        "member.unknown_user": Kind(404, "There is no such person"),
        "member.exists": Kind(409, "This person is a member already"),
        "invitation.not_found": Kind(404, "There is no such invitation"),
        "invitation.too_many": Kind(409, "Too many invitations are open"),
        "invitation.void": Kind(409, "Nobody stands behind this invitation any more"),
        "member.last_admin": Kind(409, "A project keeps at least one admin"),
        "key.unknown_scope": Kind(400, "There is no such scope"),
        "key.invalid": Kind(400, "The key's name or expiry is not valid"),
        # Prompts and versions
        "prompt.not_found": Kind(404, "There is no such prompt"),
        "prompt.name_taken": Kind(409, "A prompt with this name exists"),
        "prompt.invalid_name": Kind(400, "This cannot be a prompt's name"),
        "prompt.archived": Kind(409, "The prompt is archived"),
        "prompt.in_use": Kind(409, "The prompt is live or included elsewhere"),
        "prompt.unknown_selector": Kind(404, "No version is selected by this"),
        "prompt.no_versions": Kind(404, "The prompt has no version yet"),
        "version.not_found": Kind(404, "There is no version with this hash"),
        "version.ambiguous_hash": Kind(409, "The hash prefix fits several versions"),
        "snapshot.too_old": Kind(410, "That snapshot is not remembered any more"),
        "content.invalid": Kind(400, "The content has faults"),
        "content.too_large": Kind(413, "The content is too large"),
        "content.unknown_example_set": Kind(400, "There is no example set with this hash"),
        # Example sets
        "example_set.not_found": Kind(404, "There is no such example set"),
        "example_set.name_taken": Kind(409, "An example set with this name exists"),
        "example_set.invalid_name": Kind(400, "This cannot be an example set's name"),
        "example_set.unknown_selector": Kind(404, "No version of the example set is selected by this"),
        "example_set.archived": Kind(409, "The example set is archived"),
        "example_set.in_use": Kind(409, "A prompt in use picks from the example set"),
        "examples.unreadable": Kind(400, "The file cannot be read as examples"),
        "examples.too_large": Kind(413, "The file is too large"),
        "examples.changed_elsewhere": Kind(409, "Somebody changed these examples meanwhile"),
        "examples.not_embedded": Kind(503, "The examples are still being embedded"),
        "embedder.unknown": Kind(400, "This installation has no such embedder"),
        "embedder.failed": Kind(502, "The embedder does not answer as it should"),
        # Drafts
        "draft.not_found": Kind(404, "There is no draft"),
        "draft.changed_elsewhere": Kind(409, "Your draft was changed in another window"),
        # Templates
        "template.unknown_include": Kind(400, "An included prompt cannot be found"),
        "template.include_cycle": Kind(400, "The included prompts form a cycle"),
        "template.include_size": Kind(400, "The included prompts are too many or too large"),
        "template.include_depth": Kind(400, "Prompts are included too deeply"),
        "langfuse.needs_rendering": Kind(409, "Langfuse's client cannot fill in this template"),
        "render.busy": Kind(503, "The machine is too busy for this"),
        "schema.too_expensive": Kind(400, "The check against a schema needs too much time or memory"),
        # Environments, promotions and releases
        "environment.not_found": Kind(404, "There is no such environment"),
        "environment.invalid_name": Kind(400, "This cannot be an environment's name"),
        "environment.name_taken": Kind(409, "An environment with this name exists"),
        "environment.in_use": Kind(409, "The environment has releases or open promotions"),
        "check.measured": Kind(409, "A gate measures this check itself"),
        "promotion.unknown_pin": Kind(409, "The version names another one that does not exist"),
        "promotion.not_found": Kind(404, "There is no such promotion"),
        "promotion.already_open": Kind(409, "This version is already proposed for this environment"),
        "promotion.already_live": Kind(409, "This version is live there already"),
        "promotion.own_approval": Kind(403, "Someone else has to approve this"),
        "promotion.machine_approval": Kind(403, "A key cannot approve"),
        "promotion.already_approved": Kind(409, "You approved this already"),
        "promotion.wrong_state": Kind(409, "The promotion is not in a state for this"),
        "promotion.approvals_missing": Kind(409, "Approvals are missing"),
        "promotion.checks_missing": Kind(409, "Required checks have not passed"),
        "promotion.nothing_to_override": Kind(409, "Nothing stands in the way of applying this"),
        "promotion.reason_required": Kind(400, "A written reason is needed"),
        "release.nothing_live": Kind(409, "Nothing is live in this environment"),
        "release.nothing_to_roll_back_to": Kind(409, "There is no earlier release to return to"),
        "release.never_released": Kind(409, "This version was never released there"),
        "release.never_approved": Kind(409, "This version was released there before anybody had to approve"),
        "release.already_live": Kind(409, "This version is live there already"),
        # Import and export
        "exchange.not_an_export": Kind(409, "The directory has other files"),
        "exchange.unreadable": Kind(400, "A file cannot be read as a prompt"),
        "exchange.hash_mismatch": Kind(400, "A file's content does not have the hash that it names"),
    }
)
