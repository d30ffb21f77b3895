"""Training sets: built, checked, estimated."""
