"""Trainer: LoRA for models of llama's architecture, straight from their GGUF file, in numpy. No Django, no torch.

A process of its own (`python -m evaluations.local.trainer`): reads weights, turns examples into tokens by the llama.cpp
that will serve the result, trains, writes an adapter after each epoch and a checkpoint from which it goes on when it
was killed. What happens is printed as a JSON object a line.
"""
