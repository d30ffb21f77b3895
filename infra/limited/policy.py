"""The limits of what users wrote: templates, schemas, regular expressions, files. One place for all of them. Pure.

A verdict comes from processor time, memory and output alone: they are the same on a busy machine and on a quiet one.
Wall-clock time never says that something is too expensive; it only says how long somebody waits for a busy machine.
"""

from dataclasses import dataclass

MEGABYTE = 1024 * 1024
# The code of a refusal for which the machine is to blame: it is tried again, and never becomes a verdict or a score.
BUSY = "render.busy"


@dataclass(frozen=True)
class Limits:
    """The limits of one job. `memory_bytes` is address space, that of the interpreter and its libraries included."""

    processor_seconds: float
    memory_bytes: int
    answer_bytes: int


@dataclass(frozen=True)
class Patience:
    """How long to wait: for a free child, and for the answer to a job whose processor time is not used up."""

    free_seconds: float
    answer_seconds: float


# Ordinary templates, schemas and expressions take a millisecond.
SNIPPETS = Limits(processor_seconds=1.0, memory_bytes=400 * MEGABYTE, answer_bytes=16 * MEGABYTE)
# A file of the largest size that is taken, decoded whole.
FILES = Limits(processor_seconds=120.0, memory_bytes=1_500 * MEGABYTE, answer_bytes=MEGABYTE)
# The first rows of one, while somebody waits for the page.
FIRST_ROWS = Limits(processor_seconds=8.0, memory_bytes=1_500 * MEGABYTE, answer_bytes=MEGABYTE)

# A document that is read as text.
DOCUMENTS = Limits(processor_seconds=60.0, memory_bytes=1_500 * MEGABYTE, answer_bytes=64 * MEGABYTE)

# Somebody waits for the page; a worker has time, and what it gives up is paid for again.
IN_REQUEST = Patience(free_seconds=2.0, answer_seconds=10.0)
IN_WORKER = Patience(free_seconds=300.0, answer_seconds=300.0)
WITH_FILES = Patience(free_seconds=300.0, answer_seconds=3_600.0)
# The start of a child is nobody's fault: on a busy machine an interpreter takes seconds.
START_SECONDS = 60.0

# Freed memory does not always go back to the system: a child that grew is replaced.
RETIRE_BYTES = 160 * MEGABYTE
RECURSION_LIMIT = 600
