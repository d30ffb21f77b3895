"""Large datasets and runs."""
