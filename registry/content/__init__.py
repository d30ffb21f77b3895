"""What one version says, without a database: normal form, hash, diff, merge, lint, tokens."""
