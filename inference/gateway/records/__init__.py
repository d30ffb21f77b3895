"""Records of calls: on disk until the database has them."""
