"""Addresses by other products' contracts, so that their clients read from here unchanged."""
