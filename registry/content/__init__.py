"""The content of one version, without a database: normal form, hash, diff, merge, lint, tokens."""
