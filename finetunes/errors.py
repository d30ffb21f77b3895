"""Codes of refusals of training sets, jobs and strategy. Part of the contract: never renamed."""

from core.errors import Kind, declare

declare(
    {
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
        "cases.too_few": Kind(409, "The cases are too few for this"),
        # Strategy
        "policy.invalid": Kind(400, "The policy has faults"),
        "strategy.invalid": Kind(400, "The inputs of the recommendation have faults"),
        "strategy.not_measured": Kind(409, "What a recommendation needs is not measured"),
        "strategy.not_found": Kind(404, "There is no such recommendation"),
        "config.nothing_new": Kind(409, "There is nothing to propose"),
        "guide.invalid": Kind(400, "The guide has faults"),
        "guide.not_found": Kind(404, "There is no such guide"),
    }
)
