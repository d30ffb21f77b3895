"""OpenAI. Since 2026-07-02 only organisations that used a tuned model lately create jobs; from 2027-01-06 nobody does
(OpenAI's page of deprecations)."""

from datetime import date

from finetunes.providers.base import OPENAI_STATUSES, TuningProtocol

PROTOCOL = TuningProtocol("openai", "OpenAI", OPENAI_STATUSES, closes=date(2027, 1, 6), hosts=("api.openai.com",))
