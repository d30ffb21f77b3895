"""Rendering of untrusted templates in child processes, under limits of time, memory and output.

A few children per process are kept and reused (a start costs a tenth of a second, a job well under a millisecond).
One that exceeds its time is killed and replaced; other requests go on meanwhile.
"""

import json
import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import Fault, Problem
from core.examples import Shot
from core.rendering import Content, Survey
from core.template_language import Analysis

# Ordinary templates take a millisecond. Waiting for a child and its work together stay under 2 s.
WALL_SECONDS = 1.0
WAIT_SECONDS = 0.7
MAX_REQUESTS_PER_JOB = 50
MAX_ANSWER_BYTES = 16 * 1024 * 1024
PACKAGE_PARENT = Path(__file__).resolve().parents[2]


def _problem_from_dict(document: Mapping[str, Any]) -> Problem:
    """Rebuild the problem that a child reported (`registry.rendering.worker.problem_as_dict`)."""
    faults = [Fault(**fault) for fault in document.get("faults", ())]
    return Problem(document["code"], document["detail"], faults=faults, **document.get("members", {}))


class _DiedError(Exception):
    """The child ended in the middle of a job."""


class _Renderer:
    """One child and its two pipes; used by one thread at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "registry.rendering.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PACKAGE_PARENT,
            env={"PYTHONPATH": str(PACKAGE_PARENT), "PYTHONDONTWRITEBYTECODE": "1", "MALLOC_ARENA_MAX": "2"},
        )

    def run(self, job: bytes, seconds: float) -> dict[str, Any]:
        """Run a job and return its answer. TimeoutError after `seconds`, _DiedError where the child ends first."""
        deadline = time.monotonic() + seconds
        try:
            self._write(struct.pack(">I", len(job)) + job)
            size = struct.unpack(">I", self._read(4, deadline))[0]
            answer: dict[str, Any] = json.loads(self._read(size, deadline))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise _DiedError from error
        return answer

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: opened as PIPE
        # The child reads a whole job before it starts on it, so this never waits for a template.
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def _read(self, size: int, deadline: float) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker: opened as PIPE
        if size > MAX_ANSWER_BYTES:
            raise _DiedError
        descriptor = self._process.stdout.fileno()
        # `poll` and not `select`, which cannot watch the 1,025th open file of a busy server.
        readable = select.poll()
        readable.register(descriptor, select.POLLIN)
        received = bytearray()
        while len(received) < size:
            if not readable.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            chunk = os.read(descriptor, min(size - len(received), 1 << 20))
            if not chunk:
                raise _DiedError
            received += chunk
        return bytes(received)


class RendererPool:
    """At most `size` children, started when first needed; one owner (a project) never holds all of them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._reset()
        # Pipes must not be shared with a forked child: two processes would read each other's answers.
        os.register_at_fork(after_in_child=self._reset)

    def analyse(self, content: Content, *, owner: object = None) -> Analysis:
        """`core.rendering.analyse_content` under limits."""
        result = self._call({"do": "analyse", "content": content}, owner)
        return Analysis(frozenset(result["variables"]), tuple(result["includes"]))

    def survey(self, content: Content, partials: Sequence[Content] = (), *, owner: object = None) -> Survey:
        """`core.rendering.survey_content` under limits."""
        result = self._call({"do": "survey", "content": content, "partials": list(partials)}, owner)
        problems = tuple(_problem_from_dict(problem) for problem in result["problems"])
        return Survey(frozenset(result["variables"]), tuple(result["includes"]), problems, result["places_examples"])

    def refused_examples(self, content: Content, *, owner: object = None) -> list[tuple[int, str]]:
        """`registry.content.lint.refused_examples` under limits."""
        refused = self._call({"do": "refused_examples", "content": content}, owner)["refused"]
        return [(index, why) for index, why in refused]

    def query(
        self, content: Content, variables: Mapping[str, Any], partials: Mapping[str, Content], *, owner: object = None
    ) -> str:
        """`core.rendering.render_query` under limits."""
        job = {"do": "query", "content": content, "variables": variables, "partials": partials}
        return str(self._call(job, owner)["query"])

    def render(
        self,
        content: Content,
        variables: Mapping[str, Any],
        partials: Mapping[str, Content],
        examples: Sequence[Shot] = (),
        *,
        owner: object = None,
    ) -> dict[str, Any]:
        """`core.rendering.render` under limits."""
        job = {"do": "render", "content": content, "variables": variables, "partials": partials}
        return self._call({**job, "examples": [shot.as_dict() for shot in examples]}, owner)

    def render_all(
        self,
        content: Content,
        every: Sequence[Mapping[str, Any]],
        partials: Mapping[str, Content],
        examples: Sequence[Shot] = (),
        *,
        owner: object = None,
    ) -> list[dict[str, Any] | Problem]:
        """Render for each of many variables, in few jobs; one that exceeds a limit gets a problem of its own."""
        shots = [shot.as_dict() for shot in examples]
        answers: list[dict[str, Any] | Problem] = []
        while len(answers) < len(every):
            batch = every[len(answers) : len(answers) + MAX_REQUESTS_PER_JOB]
            job = {"do": "render_all", "content": content, "all": batch, "partials": partials, "examples": shots}
            try:
                results = self._call(job, owner)["answers"]
            except Problem as problem:
                if problem.code != "template.too_expensive":
                    raise
                # One of them used up the limits, so each is rendered by itself.
                answers += [self._render_or_problem(content, result, partials, examples, owner) for result in batch]
            else:
                answers += [
                    result["result"] if "result" in result else _problem_from_dict(result["problem"])
                    for result in results
                ]
        return answers

    def _render_or_problem(
        self,
        content: Content,
        variables: Mapping[str, Any],
        partials: Mapping[str, Content],
        examples: Sequence[Shot],
        owner: object,
    ) -> dict[str, Any] | Problem:
        try:
            return self.render(content, variables, partials, examples, owner=owner)
        except Problem as problem:
            return problem

    def warm(self) -> None:
        """Start all children now, so that they have imported their modules before the first request."""
        with self._changed:
            self._idle[:] = [renderer or _Renderer() for renderer in self._idle]

    def close(self) -> None:
        """End all idle children; the pool starts new ones when it is used again."""
        with self._changed:
            while self._idle:
                if renderer := self._idle.pop():
                    renderer.end()
        self._reset()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        # A None stands for a child that has not been started.
        self._idle: list[_Renderer | None] = [None] * self._size
        self._in_use: Counter[object] = Counter()

    def _call(self, job: Mapping[str, Any], owner: object) -> dict[str, Any]:
        message = json.dumps(job).encode()
        renderer = self._acquire(owner)
        try:
            renderer, answer = self._run(renderer, message)
        except TimeoutError:
            renderer = None
            raise Problem("template.too_expensive", f"The template needs more than {WALL_SECONDS} s.") from None
        except _DiedError:
            renderer = None
            raise Problem("template.too_expensive", "The template needs too much memory or processor time.") from None
        finally:
            self._release(renderer, owner)
        if "problem" in answer:
            raise _problem_from_dict(answer["problem"])
        result: dict[str, Any] = answer["result"]
        return result

    def _acquire(self, owner: object) -> _Renderer | None:
        """Return a free child, or None for one to start; `render.busy` after WAIT_SECONDS."""
        limit = max(1, self._size - 1)
        with self._changed:
            if not self._changed.wait_for(lambda: self._idle and self._in_use[owner] < limit, WAIT_SECONDS):
                raise Problem("render.busy", "All renderers are busy with other templates; try again.")
            self._in_use[owner] += 1
            return self._idle.pop()

    def _release(self, renderer: _Renderer | None, owner: object) -> None:
        with self._changed:
            self._in_use[owner] -= 1
            if not self._in_use[owner]:
                del self._in_use[owner]
            self._idle.append(renderer)
            self._changed.notify_all()

    def _run(self, renderer: _Renderer | None, message: bytes) -> tuple[_Renderer | None, dict[str, Any]]:
        if renderer is None or not renderer.is_alive():
            if renderer:
                renderer.end()
            renderer = _Renderer()
        try:
            answer = renderer.run(message, WALL_SECONDS)
        except (TimeoutError, _DiedError):
            renderer.end()
            raise
        if answer.get("retiring"):
            renderer.end()
            return None, answer
        return renderer, answer
