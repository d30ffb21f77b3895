"""Few-shot example sets, their embeddings, and the choice for a request."""
