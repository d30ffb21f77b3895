"""Refusals: one exception with a stable code for each kind.

Domain code raises `Problem("promotion.own_approval", "...")`. The REST layer turns it into an RFC 9457 problem
document, pages show its sentence, commands print it. Codes are part of the contract: a client may branch on them,
so they are never renamed. `python -m core.errors` prints the table that docs/errors.md holds.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """What all refusals with one code share."""

    status: int
    title: str


@dataclass(frozen=True)
class Fault:
    """One fault in an input: a JSON pointer to the member, a code, and what is wrong with it."""

    pointer: str
    code: str
    message: str

    def as_dict(self) -> dict[str, str]:
        return {"pointer": self.pointer, "code": self.code, "message": self.message}


CATALOGUE: dict[str, Kind] = {
    # The request itself
    "request.malformed": Kind(400, "The request body cannot be read"),
    "request.invalid": Kind(400, "The request has invalid members"),
    "request.too_large": Kind(413, "The request body is too large"),
    "request.media_type": Kind(415, "The request body has a media type that is not read here"),
    "request.not_acceptable": Kind(406, "No answer in an accepted media type"),
    "request.method": Kind(405, "This address has no such method"),
    "request.length": Kind(411, "Say how long the body is"),
    "request.nul": Kind(400, "The address or query has a NUL character"),
    "request.throttled": Kind(429, "Too many requests"),
    "request.precondition": Kind(412, "What you saw has changed meanwhile"),
    "not_found": Kind(404, "Nothing is here"),
    "server.error": Kind(500, "Cuebook made a mistake"),
    "server.busy": Kind(503, "More is asked than can be done just now"),
    "server.database_unavailable": Kind(503, "The database does not answer"),
    # Who is asking
    "auth.required": Kind(401, "Sign in or send an API key"),
    "auth.invalid_key": Kind(401, "The API key is not valid"),
    "auth.csrf": Kind(403, "The CSRF token is missing or wrong"),
    "auth.no_project": Kind(400, "Say which project"),
    "access.denied": Kind(403, "Your role or key does not allow this"),
    # Projects, members and keys
    "project.name_taken": Kind(409, "A project with this slug exists"),
    "project.invalid_name": Kind(400, "This cannot be a project's slug"),
    "member.unknown_user": Kind(404, "There is no such person"),
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
    "prompt.invalid_selector": Kind(400, "This cannot be a selector"),
    "prompt.no_versions": Kind(404, "The prompt has no version yet"),
    "version.not_found": Kind(404, "There is no version with this hash"),
    "version.ambiguous_hash": Kind(409, "The hash prefix fits several versions"),
    "snapshot.too_old": Kind(410, "That snapshot is not remembered any more"),
    "reference.invalid": Kind(400, "This cannot be a reference"),
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
    "examples.invalid": Kind(400, "The examples have faults"),
    "examples.unreadable": Kind(400, "The file cannot be read as examples"),
    "examples.too_many": Kind(413, "The examples are too many"),
    "examples.too_large": Kind(413, "The file is too large"),
    "examples.changed_elsewhere": Kind(409, "Somebody changed these examples meanwhile"),
    "examples.not_embedded": Kind(503, "The examples are still being embedded"),
    "embedder.unknown": Kind(400, "This installation has no such embedder"),
    "embedder.failed": Kind(502, "The embedder does not answer as it should"),
    # Training sets and fine-tune jobs
    "training_set.not_found": Kind(404, "There is no such training set"),
    "training_set.not_ready": Kind(409, "The training set is not built"),
    "training_set.nothing": Kind(400, "There is nothing to learn from"),
    "training_set.too_large": Kind(413, "The training set would be too large"),
    "training_set.has_faults": Kind(409, "The training set has faults"),
    "training_set.no_file": Kind(404, "The training set has no such file"),
    "finetune.not_found": Kind(404, "There is no such fine-tune"),
    "finetune.wrong_state": Kind(409, "The fine-tune is not in a state for this"),
    "finetune.not_offered": Kind(409, "The provider does not tune models"),
    "finetune.closed": Kind(410, "The provider makes no new fine-tune jobs"),
    "finetune.no_price": Kind(409, "Nobody has said what tuning costs"),
    "finetune.over_budget": Kind(409, "The fine-tune would cost more than its budget"),
    "finetune.not_deployed": Kind(409, "The tuned model is not deployed"),
    "cross_validation.not_found": Kind(404, "There is no such cross-validation"),
    "finetune.webhook": Kind(401, "The webhook is not signed as it should be"),
    # Datasets
    "dataset.not_found": Kind(404, "There is no such dataset"),
    "dataset.name_taken": Kind(409, "A dataset with this name exists"),
    "dataset.invalid_name": Kind(400, "This cannot be a dataset's name"),
    "dataset.invalid_split_ratios": Kind(400, "These cannot be the shares of the splits"),
    "dataset.already_split": Kind(409, "The dataset's cases have their sides already"),
    "dataset.unknown_selector": Kind(404, "No version of the dataset is selected by this"),
    "dataset.archived": Kind(409, "The dataset is archived"),
    "dataset.unreadable": Kind(400, "The file cannot be read as a dataset"),
    "dataset.no_cases": Kind(400, "There is no case in it"),
    "cases.invalid": Kind(400, "The cases have faults"),
    "cases.not_found": Kind(404, "There is no such case in this version"),
    "cases.too_few": Kind(409, "The cases are too few for this"),
    "cases.too_many": Kind(413, "The cases are too many for one request"),
    "import.not_found": Kind(404, "There is no such import"),
    "import.wrong_state": Kind(409, "The import is not in a state for this"),
    "import.too_large": Kind(413, "The file is too large"),
    "import.incomplete": Kind(409, "Parts of the file are missing"),
    "report.not_found": Kind(404, "There is no such report"),
    "leakage.unknown": Kind(409, "Nobody has looked for leaks yet"),
    "leakage.found": Kind(409, "Test cases have leaked"),
    "leakage.nothing_to_override": Kind(409, "Nothing has leaked"),
    "proposal.not_found": Kind(404, "There is no such proposal"),
    "proposal.wrong_state": Kind(409, "The proposal is not in a state for this"),
    "proposal.machine_decision": Kind(403, "A person decides on proposals"),
    "round.not_found": Kind(404, "There is no such round of annotation"),
    "round.wrong_state": Kind(409, "The round is not in a state for this"),
    "round.invalid": Kind(400, "The round has faults"),
    "annotation.not_yours": Kind(409, "You cannot annotate this case"),
    "annotation.invalid": Kind(400, "The annotation has faults"),
    # Strategy
    "policy.invalid": Kind(400, "The policy has faults"),
    "strategy.invalid": Kind(400, "The inputs of the recommendation have faults"),
    "strategy.not_measured": Kind(409, "What a recommendation needs is not measured"),
    "strategy.not_found": Kind(404, "There is no such recommendation"),
    "config.invalid": Kind(400, "The inference config has faults"),
    "config.nothing_new": Kind(409, "There is nothing to propose"),
    "config.not_found": Kind(404, "There is no such inference config"),
    "guide.invalid": Kind(400, "The guide has faults"),
    "guide.not_found": Kind(404, "There is no such guide"),
    # Live calls
    "observation.invalid": Kind(400, "The observations have faults"),
    "monitor.not_found": Kind(404, "There is no such monitor"),
    "monitor.too_many": Kind(409, "The project has many monitors already"),
    # Model providers
    "provider.not_found": Kind(404, "There is no such provider"),
    "provider.name_taken": Kind(409, "A provider with this name exists"),
    "provider.invalid_name": Kind(400, "This cannot be a provider's name"),
    "provider.address": Kind(400, "This address may not be asked"),
    "provider.key_needed": Kind(400, "The key has to be entered again"),
    "provider.archived": Kind(409, "The provider is archived"),
    "model.not_found": Kind(404, "There is no such model"),
    "model.invalid_name": Kind(400, "This cannot be a model's name"),
    "model.shut_down": Kind(409, "The model was shut down"),
    "secret.unreadable": Kind(500, "A secret cannot be decrypted"),
    # Runs and comparisons
    "scorers.invalid": Kind(400, "The scorers have faults"),
    "run.not_found": Kind(404, "There is no such run"),
    "run.no_cases": Kind(400, "There is no case to run on"),
    "run.too_large": Kind(413, "The run would be too large"),
    "run.too_many": Kind(409, "Too many runs are under way"),
    "run.no_price": Kind(400, "Nobody has said what the model costs"),
    "run.budget": Kind(400, "The budget is spent already"),
    "run.wrong_state": Kind(409, "The run is not in a state for this"),
    "result.not_found": Kind(404, "There is no such result"),
    "gate.not_found": Kind(404, "There is no such gate"),
    "gate.name_taken": Kind(409, "The environment has a gate of this name"),
    "gate.asks_nothing": Kind(400, "The gate would ask for nothing"),
    "lineup.not_found": Kind(404, "There is no such lineup"),
    "synthesis.not_found": Kind(404, "There is no such synthesis"),
    "synthesis.too_many": Kind(409, "Too many syntheses are under way"),
    "synthesis.no_cases": Kind(502, "The model wrote no case"),
    "playground_run.not_found": Kind(404, "There is no such playground run"),
    "playground run.too_many": Kind(409, "Too many playground runs are under way"),
    "playground run.no_answer": Kind(409, "There is no answer to keep"),
    "comparison.not_found": Kind(404, "There is no such comparison"),
    "comparison.not_comparable": Kind(400, "These runs cannot be compared"),
    # Drafts
    "draft.not_found": Kind(404, "There is no draft"),
    "draft.changed_elsewhere": Kind(409, "Your draft was changed in another window"),
    # Templates
    "template.syntax": Kind(400, "The template cannot be parsed"),
    "template.not_allowed": Kind(400, "The template uses something that prompts may not use"),
    "template.too_complex": Kind(400, "The template is too large or nested too deeply"),
    "template.too_expensive": Kind(400, "The template needs too much time, memory or output"),
    "template.unknown_include": Kind(400, "An included prompt cannot be found"),
    "template.include_cycle": Kind(400, "The included prompts form a cycle"),
    "template.include_size": Kind(400, "The included prompts are too many or too large"),
    "template.include_depth": Kind(400, "Prompts are included too deeply"),
    "template.failed": Kind(400, "The template failed with these variables"),
    "langfuse.needs_rendering": Kind(409, "Langfuse's client cannot fill in this template"),
    "render.missing_variable": Kind(400, "A variable is missing"),
    "render.invalid_variable": Kind(400, "A variable has the wrong type"),
    "render.busy": Kind(503, "All renderers are busy"),
    # Environments, promotions and releases
    "environment.not_found": Kind(404, "There is no such environment"),
    "environment.invalid_name": Kind(400, "This cannot be an environment's name"),
    "environment.name_taken": Kind(409, "An environment with this name exists"),
    "environment.in_use": Kind(409, "The environment has releases or open promotions"),
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


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """A refusal that the caller can act on.

    `code` is a key of CATALOGUE, `detail` one sentence for a person, `faults` what is wrong where, and `members`
    further facts that a program may want (they become members of the problem document).
    """

    def __init__(self, code: str, detail: str, *, faults: Iterable[Fault] = (), **members: Any) -> None:
        super().__init__(detail)
        self.kind = CATALOGUE[code]
        self.code = code
        self.detail = detail
        self.faults = tuple(faults)
        self.members = members

    def as_document(self) -> dict[str, Any]:
        """The problem document's members (RFC 9457)."""
        document: dict[str, Any] = {
            "type": f"urn:cuebook:problem:{self.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "code": self.code,
            **self.members,
        }
        if self.faults:
            document["errors"] = [fault.as_dict() for fault in self.faults]
        return document


def as_markdown() -> str:
    """The page of all codes."""
    rows = [f"| `{code}` | {kind.status} | {kind.title} |" for code, kind in sorted(CATALOGUE.items())]
    return "\n".join(
        [
            "# Errors",
            "",
            "Every refusal of the API is `application/problem+json` (RFC 9457) with a `code` from this table. Codes",
            "do not change; sentences may. `errors`, where present, lists each fault with a JSON pointer to it.",
            "",
            "| code | status | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
