"""Other products on the same machine, beside ours."""
