"""Files of OpenAI's protocol, each with what is said about it beside it."""

import json
import os
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from evaluations.openai_server.errors import APIError, not_found

KEY = re.compile(r"file-[0-9a-f]{24}")
# Wraps the handler of a kind of call, such as "upload".
Wrap = Callable[[str, Handler], Handler]


def unwrapped(_place: str, handler: Handler) -> Handler:
    """Leave a handler as it is."""
    return handler


class Files:
    def __init__(self, folder: Path, wrap: Wrap = unwrapped) -> None:
        self._folder = folder / "files"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._wrap = wrap

    def route(self, app: web.Application) -> None:
        app.router.add_post("/v1/files", self._wrap("upload", self._upload))
        app.router.add_get("/v1/files", self._wrap("list", self._list))
        app.router.add_get("/v1/files/{file}", self._get)
        app.router.add_get("/v1/files/{file}/content", self._content)

    def save(self, data: bytes, filename: str, purpose: str) -> dict[str, Any]:
        """Keep a file; returns what the protocol says about it."""
        key = f"file-{uuid.uuid4().hex[:24]}"
        (self._folder / key).write_bytes(data)
        about = {
            "id": key,
            "object": "file",
            "bytes": len(data),
            "created_at": int(time.time()),
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
        }
        # What is listed is there as a whole.
        unfinished = self._folder / f"{key}.part"
        unfinished.write_text(json.dumps(about), encoding="utf-8")
        os.replace(unfinished, self._folder / f"{key}.json")
        return about

    def path(self, key: str, suffix: str = "") -> Path:
        """Return where a file is. APIError where there is none."""
        path = self._folder / f"{key}{suffix}"
        if not KEY.fullmatch(key) or not path.exists():
            raise not_found("There is no such file.")
        return path

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        sent = form.get("file")
        if not isinstance(sent, web.FileField):
            raise APIError(400, "A file is missing.", "invalid_request", "file")
        return web.json_response(self.save(sent.file.read(), sent.filename, str(form.get("purpose", "fine-tune"))))

    async def _list(self, _request: web.Request) -> web.Response:
        paths = sorted(self._folder.glob("*.json"), key=lambda path: -path.stat().st_mtime)
        rows = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        return web.json_response({"object": "list", "data": rows, "has_more": False})

    async def _get(self, request: web.Request) -> web.Response:
        path = self.path(request.match_info["file"], ".json")
        return web.Response(body=path.read_bytes(), content_type="application/json")

    async def _content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.path(request.match_info["file"]).read_bytes())
