"""Inference configs: how a task is asked of a model."""
