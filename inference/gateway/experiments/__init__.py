"""Experiments in the inference service: plans of arms, and arms that are asked beside what is served."""
