"""`make test-local`: the README's command on a fresh instance with SmolLM2. Thresholds, never texts.

Not collected by `make test`, which installs no weights; the same parts run there with a tiny model.
"""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.instance import ROOT, clean_environment, start

MIN_GAIN = 0.15
COMMAND = (
    *("finetune", "run", "support.route@latest", "--dataset", "support.tickets"),
    *("--model", "local/smollm2-135m-instruct", "--suffix", "tickets", "--project", "demo"),
)


def test_a_tuned_model_is_better_than_its_base_and_cheaper(tmp_path: Path):
    tmp_path.chmod(0o755)
    home = tmp_path / "home"
    instance = start(home, "--local")
    began = time.monotonic()
    try:
        result = subprocess.run(
            [sys.executable, "manage.py", *COMMAND],
            cwd=ROOT,
            env=clean_environment(CUEBOOK_HOME=str(home)),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        assert instance.stop(signal.SIGTERM) == 0
    sys.stdout.write(f"{result.stdout}\nfrom files to verdict: {time.monotonic() - began:.0f} s\n")
    assert result.returncode == 0, result.stderr
    measured = {
        name: (float(quality), float(dollars))
        for name, quality, dollars in re.findall(r"test, (\w+): quality ([\d.]+) .*?\$([\d.]+) for", result.stdout)
    }
    assert measured["tuned"][0] - measured["base"][0] >= MIN_GAIN
    assert measured["tuned"][1] < measured["base"][1]
