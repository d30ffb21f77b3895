"""Retrieval: collections of documents, which prompts search for what they are asked about."""
