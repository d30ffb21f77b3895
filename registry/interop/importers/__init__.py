"""Readers of other products' prompts, one file a product."""
