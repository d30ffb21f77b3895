"""Live calls: recording, adding up and reading them."""
