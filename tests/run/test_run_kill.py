"""kill -9 at a random instant, then resume: the weights are those of the uninterrupted run. Ten quick
kills here; `benchmarks/kill_resume.py` counts two hundred."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "kill_resume.py"


def test_ten_kills_over_five_kinds_of_run_end_with_the_same_weights(tmp_path):
    # a process of its own: it forks, which a test worker full of threads must not
    found = subprocess.run(
        [sys.executable, str(SCRIPT), "--trials", "2"],
        capture_output=True, text=True, cwd=tmp_path, check=True, timeout=900,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert "10 of 10 equal." in found.stdout, found.stdout
