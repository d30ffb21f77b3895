"""Codes of refusals of inference configs, calls and monitors. Part of the contract: never renamed."""

from core.errors import Kind, declare, declare_failures

declare(
    {
        # Strategy
        "config.invalid": Kind(400, "The inference config has faults"),
        "config.not_found": Kind(404, "There is no such inference config"),
        "config.no_follower": Kind(409, "Nobody stands behind what the config follows"),
        "config.not_live": Kind(409, "What the config would pin is not live"),
        # Experiments
        "experiment.invalid": Kind(400, "The experiment has faults"),
        "experiment.not_found": Kind(404, "There is no such experiment"),
        "experiment.not_live": Kind(409, "The baseline is not live"),
        "experiment.not_approved": Kind(409, "An arm is not approved for the environment"),
        "experiment.other_runs": Kind(409, "Another experiment runs with the prompt"),
        "experiment.ended": Kind(409, "The experiment has ended"),
        "experiment.arm_stopped": Kind(409, "An arm was stopped since it was reviewed"),
        "experiment.no_arm": Kind(404, "The experiment has no such arm"),
        "experiment.no_step": Kind(409, "There is no further step"),
        "experiment.reason_required": Kind(400, "A reason has to be given"),
        # The inference service
        "gateway.invalid": Kind(400, "The request has faults"),
        "gateway.unknown_model": Kind(404, "There is no such task or prompt"),
        "gateway.no_place": Kind(400, "The version has no place for what was sent"),
        "gateway.limit_reached": Kind(429, "The key has used up what it may ask today"),
        "gateway.no_retrieval": Kind(409, "The config asks for retrieval"),
        "gateway.no_model": Kind(409, "The model cannot be found"),
        # Live calls
        "text_policy.invalid": Kind(400, "What is to be kept of texts has faults"),
        "text_policy.failed": Kind(500, "Texts could not be cleaned"),
        "call.not_found": Kind(404, "There is no such call"),
        "feedback.invalid": Kind(400, "The feedback has faults"),
        "observation.invalid": Kind(400, "The observations have faults"),
        "alert.not_found": Kind(404, "There is no such alert"),
        "alert.closed": Kind(409, "The alert is resolved already"),
        "monitor.not_found": Kind(404, "There is no such monitor"),
        "monitor.too_many": Kind(409, "The project has many monitors already"),
    }
)

declare_failures(
    {
        "gateway.no_turn": "Too many calls of the provider were in flight for as long as one may wait",
        "gateway.model_down": "The model failed several times in a row, and is left alone for a moment",
        "gateway.client_left": "The client left before the answer was complete",
    }
)
