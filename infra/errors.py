"""Codes of refusals of requests and the server itself. Part of the contract: never renamed."""

from core.errors import Kind, declare

declare(
    {
        # The request itself
        "request.malformed": Kind(400, "The request body cannot be read"),
        "request.invalid": Kind(400, "The request has invalid members"),
        "request.too_large": Kind(413, "The request body is too large"),
        "request.media_type": Kind(415, "The request body has a media type that is not read here"),
        "request.not_acceptable": Kind(406, "No answer in an accepted media type"),
        "request.method": Kind(405, "This address has no such method"),
        "request.length": Kind(411, "Say how long the body is"),
        "request.nul": Kind(400, "The address or query has a NUL character"),
        "request.throttled": Kind(429, "Too many requests"),
        "not_found": Kind(404, "Nothing is here"),
        "server.error": Kind(500, "Cuebook made a mistake"),
        "server.database_unavailable": Kind(503, "The database does not answer"),
        # Who is asking
        "auth.required": Kind(401, "Sign in or send an API key"),
        "auth.invalid_key": Kind(401, "The API key is not valid"),
        "auth.csrf": Kind(403, "The CSRF token is missing or wrong"),
        "access.denied": Kind(403, "Your role or key does not allow this"),
        # Model providers
        "secret.unreadable": Kind(500, "A secret cannot be decrypted"),
    }
)
