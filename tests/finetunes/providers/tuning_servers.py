"""Together and Fireworks as their references have them, strict and small: a member that they do not have is 400.

References: docs.together.ai/reference/post-fine-tunes and its SDK 3.1; docs.fireworks.ai/api-reference and its SDK 1.2.
"""

import re
from typing import Any

from tests.http_server import Handler

TOGETHER_BODY = {
    *("model", "training_file", "validation_file", "n_epochs", "n_evals", "batch_size", "learning_rate", "suffix"),
    *("training_method", "training_type", "random_seed"),
}
FIREWORKS_BODY = {
    *("baseModel", "dataset", "evaluationDataset", "epochs", "batchSizeSamples", "outputModel", "displayName"),
    "learningRate",
}


def parts_of(body: bytes) -> dict[str, str]:
    """The fields of a form in parts, by name."""
    found_parts = re.findall(
        rb'name="(\w+)"(?:; filename="[^"]*")?\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--', body, re.DOTALL
    )
    return {name.decode(): value.decode() for name, value in found_parts}


class Stateful(Handler):
    """A server with files and jobs, and the bodies of all requests that created something."""

    files: dict[str, dict[str, Any]]
    jobs: dict[str, dict[str, Any]]
    created: list[dict[str, Any]]
    # What the next creation does: answer, or break after it has created.
    breaks = False

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def refuse(self, status: int, message: str) -> None:
        self.answer({"error": {"message": message, "type": "invalid_request_error", "code": None}}, status)


def together() -> type[Stateful]:
    class Together(Stateful):
        files, jobs, created = {}, {}, []

        @property
        def bucket(self) -> str:
            return f"http://127.0.0.1:{self.server.server_port}/bucket"  # type: ignore[attr-defined]

        def do_PUT(self) -> None:  # noqa: N802 - http.server's name
            key, _, signature = self.path.removeprefix("/bucket/").partition("?X-Amz-Signature=")
            if signature != "s" * 600:
                return self.refuse(403, "The address is not signed.")
            if self.headers["Authorization"]:
                return self.refuse(400, "A signed address takes no other authorization.")
            self.files[key]["text"] = self.read_body().decode()
            return self.answer_bytes(b"")

        def get(self) -> None:
            if self.path == "/v1/files":
                return self.answer({"data": list(self.files.values())})
            if self.path == "/v1/fine-tunes":
                return self.answer({"data": list(self.jobs.values())})
            key, _, rest = self.path.removeprefix("/v1/fine-tunes/").partition("/")
            if key not in self.jobs:
                return self.refuse(404, "No such job")
            if rest == "events":
                event = {"object": "fine-tune-event", "type": "job_start", "message": "Job started", "level": "info"}
                warning = {**event, "message": "Few examples", "level": "legacy_iwarning", "step": 3}
                at = "2026-11-28T10:00:0{}.000Z"
                events = [{**warning, "created_at": at.format(2)}, {**event, "created_at": at.format(1)}]
                return self.answer({"data": events})
            if rest == "checkpoints":
                checkpoint = {"path": "s3://x", "step": 8, "checkpoint_type": "Final", "created_at": "x"}
                return self.answer({"data": [checkpoint]})
            job = self.jobs[key]
            order = ["pending", "queued", "running", "compressing", "uploading", "completed"]
            if job["status"] in order[:-1]:
                job["status"] = order[order.index(job["status"]) + 1]
            if job["status"] == "completed":
                job |= {"model_output_name": "acme/llama-tickets-1a2b", "token_count": 4_200}
            return self.answer(job)

        def post(self) -> None:
            if self.path == "/v1/files":
                fields = parts_of(self.read_body())
                if set(fields) != {"purpose", "file_name", "file_type", "checksum"} or fields["file_type"] != "jsonl":
                    return self.refuse(400, f"Fields: {sorted(fields)}")
                key = f"file-{len(self.files) + 1}"
                file = {"id": key, "filename": fields["file_name"], "object": "file", "Processed": False}
                self.files[key] = file
                self.send_response(302)
                self.send_header("Location", f"{self.bucket}/{key}?X-Amz-Signature={'s' * 600}")
                self.send_header("X-Together-File-Id", key)
                self.send_header("Content-Length", "0")
                return self.end_headers()
            if self.path.endswith("/preprocess"):
                file = self.files[self.path.split("/")[3]]
                file["Processed"] = "text" in file
                return self.answer(file)
            if self.path.endswith("/cancel"):
                job = self.jobs[self.path.split("/")[3]]
                job["status"] = "cancelled"
                return self.answer(job)
            body = self.read_json()
            if unknown := body.keys() - TOGETHER_BODY:
                return self.refuse(400, f"Unknown members: {sorted(unknown)}")
            key = f"ft-{len(self.jobs) + 1}"
            self.jobs[key] = {"id": key, "status": "pending", "created_at": "x", "user_id": "u", **body}
            self.created.append(body)
            if self.breaks:
                return self.refuse(503, "Gone")
            return self.answer(self.jobs[key])

    return Together


def fireworks() -> type[Stateful]:
    class Fireworks(Stateful):
        files, jobs, created = {}, {}, []
        home = "/v1/accounts/acme"

        def get(self) -> None:
            if self.path == "/v1/accounts":
                return self.answer({"accounts": [{"name": "accounts/acme"}], "totalSize": 1})
            kind, _, key = self.path.removeprefix(f"{self.home}/").partition("/")
            rows = self.files if kind == "datasets" else self.jobs
            if key not in rows:
                return self.refuse(404, "not found")
            row = rows[key]
            if row["state"] == "UPLOADING" and "text" in row:
                row["state"] = "READY"
            order = ["JOB_STATE_CREATING", "JOB_STATE_VALIDATING", "JOB_STATE_RUNNING", "JOB_STATE_COMPLETED"]
            if row["state"] in order[:-1]:
                row["state"] = order[order.index(row["state"]) + 1]
            return self.answer({name: value for name, value in row.items() if name != "text"})

        def post(self) -> None:
            path = self.path.removeprefix(f"{self.home}/")
            if path.endswith(":upload"):
                key = path.removeprefix("datasets/").removesuffix(":upload")
                self.files[key]["text"] = parts_of(self.read_body())["file"]
                return self.answer({})
            if path == "datasets":
                body = self.read_json()
                key = body["datasetId"]
                if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", key):
                    return self.refuse(400, f"No id: {key}")
                if key in self.files:
                    return self.refuse(409, "exists")
                self.files[key] = {"name": f"accounts/acme/datasets/{key}", "state": "UPLOADING", **body["dataset"]}
                return self.answer(self.files[key])
            if path.endswith(":cancel"):
                self.jobs[path.split("/")[1].removesuffix(":cancel")]["state"] = "JOB_STATE_CANCELLED"
                return self.answer({})
            key = path.partition("supervisedFineTuningJobId=")[2]
            body = self.read_json()
            if unknown := body.keys() - FIREWORKS_BODY:
                return self.refuse(400, f"Unknown members: {sorted(unknown)}")
            if key in self.jobs:
                return self.refuse(409, "exists")
            name = f"accounts/acme/supervisedFineTuningJobs/{key}"
            self.jobs[key] = {"name": name, "state": "JOB_STATE_CREATING", **body}
            self.created.append(body)
            if self.breaks:
                return self.refuse(503, "Gone")
            return self.answer(self.jobs[key])

    return Fireworks
