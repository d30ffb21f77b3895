"""The least that a WSGI application can do: the bytes and headers of a file, whatever is asked. What others are held
against. `BARE_ANSWER` names a JSON file with `headers` and `body`."""

import json
import os
from pathlib import Path
from typing import Any

_answer = json.loads(Path(os.environ["BARE_ANSWER"]).read_text(encoding="utf-8"))
_headers = [tuple(header) for header in _answer["headers"]]
_body = _answer["body"].encode()


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", _headers)
    return [_body]
