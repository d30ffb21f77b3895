"""What ends when its model does: everything live, configured, gated, tuned or scheduled on a model with an end."""
