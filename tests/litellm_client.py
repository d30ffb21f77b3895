"""LiteLLM's SDK for tests: without the price list that it would fetch from the network when it is imported."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

litellm.telemetry = False

__all__ = ["litellm"]
