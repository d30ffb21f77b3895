"""Children of the engine end with it, however it ends: their standard input is a pipe that only the engine holds."""

import os
import sys
import threading

# The environment variable in which a child is told the key of the llama.cpp servers.
KEY_VARIABLE = "CUEBOOK_LOCAL_KEY"


def end_with_parent() -> None:
    """End this process as soon as its parent has: then standard input comes to its end."""

    def wait() -> None:
        # Not by `sys.stdin`, whose lock would be held when the process ends by itself.
        while os.read(sys.stdin.fileno(), 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
