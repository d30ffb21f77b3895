"""What server and client have in common: the same files, not copies that could drift apart.

Each module here is a link to the registry's module of that name (a wheel has the file itself), so a prompt that is
rendered in a service is byte for byte what the registry's own preview, evaluations and `POST .../render` make of it.
"""
