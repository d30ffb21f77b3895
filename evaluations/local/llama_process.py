"""A llama.cpp server as a process of its own: `python -m evaluations.local.llama_process MODEL.gguf --port N …`.

It listens on loopback alone and wants the key of the environment variable CUEBOOK_LOCAL_KEY.
"""

import argparse
import os
import threading
from pathlib import Path

import xllamacpp

from evaluations.local.lifeline import KEY_VARIABLE, end_with_parent


def parameters_of(arguments: argparse.Namespace) -> xllamacpp.CommonParams:
    """Return llama.cpp's own settings."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(arguments.model)
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = arguments.port
    parameters.api_keys = [os.environ[KEY_VARIABLE]]
    parameters.n_parallel = arguments.slots
    parameters.n_ctx = arguments.slots * arguments.context
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = arguments.threads
    parameters.use_jinja = True
    parameters.offline = True
    parameters.ui = False
    parameters.cache_ram_mib = 128
    parameters.lora_adapters = [_adapter(path) for path in arguments.adapter]
    return parameters


def _adapter(path: Path) -> xllamacpp.CommonAdapterLoraInfo:
    """Return an adapter that is off unless a request turns it on."""
    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = str(path), 0.0
    return adapter


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--context", type=int, required=True, help="tokens of a slot")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--adapter", type=Path, action="append", default=[])
    parsed = parser.parse_args()
    end_with_parent()
    server = xllamacpp.Server(parameters_of(parsed))
    # Its own threads answer; the process ends with its parent, or by a signal.
    threading.Event().wait()
