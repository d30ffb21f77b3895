"""The trainer's process: `python -m evaluations.local.trainer MODEL.gguf TRAIN.jsonl FOLDER …`."""

import argparse
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

# One thread: the other processor goes on answering, and two threads that wait for each other do less than one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from evaluations.local.lifeline import KEY_VARIABLE, end_with_parent
from evaluations.local.trainer.adapter import AdapterShape, new_parameters
from evaluations.local.trainer.network import MAX_TOKENS, Network
from evaluations.local.trainer.tokens import ServerAwayError, Tokeniser, UnusableFileError, read_texts
from evaluations.local.trainer.training import Settings, Training
from evaluations.local.trainer.weights import UnsupportedModelError, architecture_of, read_model

NICENESS = 10
MIN_EXAMPLES = 10


def say(**members: Any) -> None:
    """Tell what happens: a JSON object a line."""
    sys.stdout.write(json.dumps(members) + "\n")
    sys.stdout.flush()


def main(arguments: argparse.Namespace) -> int:
    """Train; returns the exit code: 0, 1 after an `error` was said, or that of what is to be tried again."""
    try:
        train(arguments)
    except (UnsupportedModelError, UnusableFileError) as error:
        say(error=str(error))
        return 1
    except ServerAwayError:
        return os.EX_TEMPFAIL
    except MemoryError:
        limit = arguments.memory_mb
        say(error=f"It needs more than {limit:,} MB: tune fewer layers, shorter examples or smaller batches.")
        return 1
    return 0


def train(arguments: argparse.Namespace) -> None:
    model = read_model(arguments.model)
    say(event="loaded", layers=model.shape.layers, width=model.shape.width)
    tokeniser = Tokeniser(arguments.server, os.environ.get(KEY_VARIABLE, ""))
    longest = min(arguments.max_tokens, model.shape.max_tokens, MAX_TOKENS)
    texts = read_texts(arguments.train, tokeniser, longest)
    if len(texts) < MIN_EXAMPLES:
        raise UnusableFileError(f"The training file has {len(texts)} examples; at least {MIN_EXAMPLES} are needed.")
    validation = read_texts(arguments.validation, tokeniser, longest) if arguments.validation else []
    if arguments.validation and not validation:
        raise UnusableFileError("The validation file has no examples.")
    tokens = sum(len(text.tokens) for text in texts)
    say(event="tokenised", examples=len(texts), validation=len(validation), tokens=tokens)
    layers = min(arguments.layers or model.shape.layers, model.shape.layers)
    shape = AdapterShape(arguments.rank, 2.0 * arguments.rank, model.shape.layers - layers)
    settings = Settings(arguments.epochs, arguments.batch, arguments.rate, arguments.seed, shape)
    network = Network(model, shape, new_parameters(model, shape, arguments.seed))
    say(event="adapter", layers=layers, parameters=sum(values.size for values in network.parameters.values()))
    progress = Training(network, texts, validation, settings, arguments.folder).run(
        say, architecture_of(arguments.model)
    )
    # Of getrusage in kilobytes, on macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 * 1024 if sys.platform == "darwin" else 1024)
    say(
        event="done",
        best_epoch=progress.best_epoch,
        trained_tokens=tokens * progress.epoch,
        peak_mb=peak,
        processor_seconds=round(sum(os.times()[:2]), 1),
    )


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m evaluations.local.trainer")
    parser.add_argument("model", type=Path, help="the base model's GGUF file")
    parser.add_argument("train", type=Path, help="a JSONL file of chats")
    parser.add_argument("folder", type=Path, help="for adapters and the checkpoint")
    parser.add_argument("--server", required=True, help="the llama.cpp that turns texts into tokens")
    parser.add_argument("--validation", type=Path, help="a JSONL file of chats that are not learned")
    parser.add_argument("--epochs", type=int, default=Settings.epochs)
    parser.add_argument("--batch", type=int, default=Settings.batch)
    parser.add_argument("--rate", type=float, default=Settings.rate)
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--layers", type=int, default=0, help="how many layers are tuned, from the last; 0: all")
    parser.add_argument("--max-tokens", type=int, default=2048, help="of one example")
    parser.add_argument("--memory-mb", type=int, default=6144, help="of address space; on Linux only")
    return parser.parse_args()


if __name__ == "__main__":
    parsed = _read_arguments()
    end_with_parent()
    os.nice(NICENESS)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (parsed.memory_mb * 2**20, parsed.memory_mb * 2**20))
    sys.exit(main(parsed))
