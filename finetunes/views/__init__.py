"""Pages of fine-tunes."""
