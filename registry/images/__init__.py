"""Uploaded images: stored once by the hash of their bytes, named by values, and put into what goes to a provider."""
