"""The child process that compiles and renders untrusted templates under limits. Started by registry.rendering.pool.

It reads jobs from standard input and writes answers to standard output, each a 4-byte big-endian length and JSON.
It never sees Django, the database or a secret: its environment is empty but for the path of this package.
"""

import json
import resource
import signal
import struct
import sys
import time
from typing import Any, BinaryIO

from core.errors import Problem
from core.examples import Shot
from core.rendering import Rendering, analyse_content, render, render_query, survey_content
from registry.content.lint import refused_examples

MEMORY_BYTES = 400 * 1024 * 1024
CPU_SECONDS_PER_JOB = 3
# Freed memory does not always go back to the system: a child that grew is replaced.
RETIRE_BYTES = 160 * 1024 * 1024
RECURSION_LIMIT = 600
# After this time a job of many renderings returns what it has.
BATCH_SECONDS = 0.3


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job; the answer has `result`, or `problem` with what Problem needs to be raised again."""
    try:
        if job["do"] == "analyse":
            analysis = analyse_content(job["content"])
            return {"result": {"variables": sorted(analysis.variables), "includes": list(analysis.includes)}}
        if job["do"] == "refused_examples":
            return {"result": {"refused": refused_examples(job["content"])}}
        if job["do"] == "survey":
            result = survey_content(job["content"], job["partials"])
            problems = [problem_as_dict(problem) for problem in result.problems]
            return {
                "result": {
                    "variables": sorted(result.variables),
                    "includes": list(result.includes),
                    "problems": problems,
                    "places_examples": result.places_examples,
                }
            }
        if job["do"] == "query":
            return {"result": {"query": render_query(job["content"], job["variables"], job["partials"])}}
        if job["do"] == "render_all":
            return {"result": render_all(job)}
        shots = [read_shot(shot) for shot in job["examples"]]
        return {"result": render(job["content"], job["variables"], job["partials"], shots)}
    except Problem as problem:
        return {"problem": problem_as_dict(problem)}
    except MemoryError:
        return {"problem": {"code": "template.too_expensive", "detail": "The template needs too much memory."}}


def render_all(job: dict[str, Any]) -> dict[str, Any]:
    """Render as many of the variables as fit into BATCH_SECONDS; each is a result or a problem."""
    until = time.monotonic() + BATCH_SECONDS
    rendering = Rendering(job["content"], job["partials"], [read_shot(shot) for shot in job["examples"]])
    answers: list[dict[str, Any]] = []
    for variables in job["all"]:
        try:
            answers.append({"result": rendering.request(variables)})
        except Problem as problem:
            answers.append({"problem": problem_as_dict(problem)})
        if time.monotonic() > until:
            break
    return {"answers": answers}


def read_shot(document: dict[str, Any]) -> Shot:
    return Shot(document["input"], document["output"], document.get("note", ""), document.get("tags", ()))


def problem_as_dict(problem: Problem) -> dict[str, Any]:
    """Return a problem's parts, from which it is raised again in another process."""
    faults = [fault.as_dict() for fault in problem.faults]
    return {"code": problem.code, "detail": problem.detail, "faults": faults, "members": problem.members}


def limit_processor_time() -> None:
    """Limit processor time, so that a job ends even if its parent has died; a living parent ends it sooner."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + CPU_SECONDS_PER_JOB
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def serve(jobs: BinaryIO, answers: BinaryIO) -> None:
    while header := jobs.read(4):
        limit_processor_time()
        job = json.loads(jobs.read(struct.unpack(">I", header)[0]))
        result = run_job(job)
        retiring = resident_bytes() > RETIRE_BYTES
        answer = json.dumps({**result, "retiring": retiring}).encode()
        answers.write(struct.pack(">I", len(answer)) + answer)
        answers.flush()
        if retiring:
            return


def resident_bytes() -> int:
    """Return the peak memory of this process.

    Linux counts it anew from the start of a program in VmHWM; the peak of getrusage goes on from what the parent held
    when it forked, so that a child of a large process would seem large from its birth. macOS counts in bytes.
    """
    if sys.platform == "linux":
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setrecursionlimit(RECURSION_LIMIT)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(sys.stdin.buffer, sys.stdout.buffer)
