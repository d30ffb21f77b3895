"""Fine-tuning protocols, states and training files. Pure."""
