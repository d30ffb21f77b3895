"""The pages of the workspace: each parses a request, calls one domain function, and shows what came of it.

`frame` has what all share; the other modules are named for the noun that their pages are about.
"""
