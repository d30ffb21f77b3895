"""What models take, and what a version asks of them that they refuse. Pure."""
