"""The private PostgreSQL and broker that Cuebook starts for itself where none is configured.

Nothing here needs Django: the supervisor runs before there is a database, and the tests start the same servers.
"""
