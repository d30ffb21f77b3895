"""Live calls: how they are taken in, added up and read."""
