"""The client as an installable package."""

import json
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from registry.content.content_hash import content_hash

ROOT = Path(__file__).resolve().parent.parent.parent
CLIENT = ROOT / "client"
SHARED = sorted(path.stem for path in (ROOT / "core").glob("*.py"))
CONTENT = {"kind": "chat", "messages": [{"role": "user", "content": "Hi {{ name }}"}]}
USE = """
import sys, cuebook
client = cuebook.Cuebook(sys.argv[1], "cbk_a_b", cache_dir=None)
print(client.render("greeting", name="Ada"), flush=True)
assert not {"django", "rfc8785", "jsonschema_rs"} & sys.modules.keys()
"""


def test_server_and_client_share_one_folder():
    link = CLIENT / "cuebook" / "core"
    assert link.is_symlink()
    assert link.resolve() == ROOT / "core"
    assert {"content", "errors", "rendering"} < set(SHARED)


def test_it_needs_httpx_and_jinja_alone():
    declared = (CLIENT / "pyproject.toml").read_text()
    block = re.search(r"dependencies = \[(.*?)\]", declared, re.DOTALL)
    assert block
    assert set(re.findall(r'"([a-z0-9]+)', block[1])) == {"httpx", "httpx2", "jinja2"}


class Greeter(BaseHTTPRequestHandler):
    """A registry whose snapshot has one prompt, to check that the package works."""

    def do_GET(self) -> None:
        hashed = content_hash(CONTENT)
        prompt = {"prompt": "greeting", "number": 1, "hash": hashed, "content": CONTENT, "partials": {}}
        body = json.dumps({"environment": "production", "prompts": {"greeting": prompt}}).encode()
        self.send_response(200)
        self.send_header("ETag", f'"{content_hash({"greeting": hashed})}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def pythons() -> list[str]:
    """This Python, and the oldest supported one where the machine has it."""
    oldest = shutil.which("python3.10")
    # A version manager's stand-in may be there without the Python.
    works = oldest is not None and not subprocess.run([oldest, "-V"], capture_output=True, check=False).returncode
    return [sys.executable, *([oldest] if oldest and works else [])]


@pytest.mark.slow
def test_the_wheel_works_by_itself(tmp_path: Path):
    pip = ["-m", "pip", "--disable-pip-version-check", "--quiet"]
    builder = str(tmp_path / "builder" / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "builder")], check=True, timeout=120)
    subprocess.run([builder, *pip, "install", "hatchling"], check=True, timeout=300)
    subprocess.run([builder, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)], cwd=CLIENT, check=True)
    (source,) = tmp_path.glob("cuebook-*.tar.gz")
    # From the source distribution, as an installer would that finds no wheel.
    subprocess.run([builder, *pip, "wheel", "--no-deps", "-w", str(tmp_path), str(source)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("cuebook-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    for name in SHARED:
        assert packed[f"cuebook/core/{name}.py"] == (ROOT / "core" / f"{name}.py").read_bytes()
    assert "cuebook/py.typed" in packed
    server = ThreadingHTTPServer(("127.0.0.1", 0), Greeter)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        for number, python in enumerate(pythons()):
            home = tmp_path / f"venv{number}"
            subprocess.run([python, "-m", "venv", str(home)], check=True, timeout=120)
            own = str(home / "bin" / "python")
            subprocess.run([own, *pip, "install", str(wheel)], check=True, timeout=300)
            address = f"http://127.0.0.1:{server.server_port}"
            done = subprocess.run(
                [own, "-c", USE, address], check=True, timeout=60, capture_output=True, text=True, cwd=tmp_path
            )
            assert done.stdout == "{'messages': [{'role': 'user', 'content': 'Hi Ada'}]}\n"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
