"""Code shared by server and client: the same files, not copies that could drift apart.

The client links to this folder (a wheel has the files themselves), so a prompt that is rendered in a service is byte
for byte what the registry's own preview, evaluations and `POST .../render` make of it.
"""
