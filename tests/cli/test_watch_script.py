"""A watched script behaves as unwatched: its output, its exit code, its errors; the verdict is last."""

import json
import signal
import subprocess
import sys
import time

import pytest

TRAIN = """
import sys, torch
from torch import nn
import torch.nn.functional as F
torch.manual_seed(0)
X = torch.randn(512, 8); y = (X[:, 0] * X[:, 1] > 0).long()
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2){head})
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
for epoch in range(12):
    for rows in torch.randperm(512).split(32):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(X[rows]), y[rows])
        loss.backward()
        optimizer.step()
print(f"loss {{loss.item():.6f}}", sys.argv[1:], __name__, flush=True)
{end}
"""


@pytest.fixture
def script(tmp_path):
    def write(text):
        path = tmp_path / "train.py"
        path.write_text(text)
        return path

    return write


def watched(path, *words, options=()):
    return subprocess.run(
        [sys.executable, "-c", "from trainwright.cli.app import main; main()", "watch", *options,
         str(path), *words],
        capture_output=True, text=True, timeout=120, check=False, env=ENV,
    )  # fmt: skip


def plain(path, *words):
    return subprocess.run(
        [sys.executable, str(path), *words], capture_output=True, text=True, timeout=120, check=False,
        env=ENV,
    )  # fmt: skip


ENV = {**__import__("os").environ, "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def test_output_and_exit_code_are_the_scripts_own_and_the_verdict_names_the_fault(script):
    path = script(TRAIN.format(head=", nn.Softmax(1)", end="sys.exit(7)"))
    without, done = plain(path, "--epochs", "3"), watched(path, "--epochs", "3")
    assert (
        (done.returncode, done.stdout) == (without.returncode, without.stdout) == (7, done.stdout)
    )
    assert "L301" in done.stderr
    assert done.stderr.rstrip().endswith(("╯", "┘"))


def test_a_healthy_script_is_told_so(script):
    done = watched(script(TRAIN.format(head="", end="")))
    assert done.returncode == 0
    assert "nothing wrong found" in done.stderr


def test_the_verdict_goes_to_a_file_as_json(script, tmp_path):
    place = tmp_path / "verdict.json"
    path = script(TRAIN.format(head=", nn.Softmax(1)", end=""))
    done = watched(path, options=["--json", "--report", str(place)])
    assert done.returncode == 0
    assert done.stderr == ""
    verdict = json.loads(place.read_text())
    assert [f["code"] for f in verdict["findings"]] == ["L301"]


def test_an_error_of_the_script_keeps_its_traceback_and_code(script):
    done = watched(script(TRAIN.format(head="", end="raise ValueError('mine')")))
    assert done.returncode == 1
    assert "ValueError: mine" in done.stderr
    assert done.stderr.index("ValueError: mine") < done.stderr.rindex("╭")


def test_a_script_that_never_trains_is_told_what_could_not_be_seen(script):
    done = watched(script("print('hello')"))
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert "no network was called" in done.stderr


BY_HAND = {
    "data": "[p.data.add_(p.grad, alpha=-0.5) for p in model.parameters()]",
    "no_grad": """with torch.no_grad():
            for p in model.parameters():
                p -= 0.5 * p.grad""",
}


@pytest.mark.parametrize("update", BY_HAND)
@pytest.mark.parametrize(("head", "codes"), [(", nn.Softmax(1)", ["L301"]), ("", [])])
def test_a_script_that_updates_by_hand_is_judged_and_what_was_not_seen_is_said(
    script, update, head, codes
):
    text = TRAIN.format(head=head, end="").replace("optimizer.step()", BY_HAND[update])
    path = script(text)
    done = watched(path, options=["--json"])
    assert (done.returncode, done.stdout) == (0, plain(path).stdout)
    verdict = json.loads(done.stderr)
    assert [f["code"] for f in verdict["findings"]] == codes
    assert verdict["steps"] == 12 * 16 - 1  # the first forward shows the network
    assert any("no torch optimiser takes the steps" in u["reason"] for u in verdict["unseen"])


def test_a_script_that_never_updates_is_told_what_could_not_be_seen(script):
    text = TRAIN.format(head="", end="").replace("optimizer.step()", "pass").replace(
        "range(12)", "range(1)")  # fmt: skip
    done = watched(script(text))
    assert done.returncode == 0
    assert "no torch optimiser took a step" in done.stderr


def test_an_optimiser_of_something_else_does_not_stop_the_script(script):
    text = TRAIN.format(head=", nn.Softmax(1)", end="print('done')").replace(
        "        optimizer.step()", "        other.step()\n        optimizer.step()"
    ).replace("for epoch in", "other = torch.optim.SGD([nn.Parameter(torch.ones(2))], 0.1)\nfor epoch in")  # fmt: skip
    done = watched(script(text), options=["--json"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("done\n")
    verdict = json.loads(done.stderr)
    assert [f["code"] for f in verdict["findings"]] == ["L301"]
    assert any("none of the model's" in u["reason"] for u in verdict["unseen"])


def test_a_script_that_watches_itself_goes_on(script):
    text = TRAIN.format(head="", end="print('done')").replace(
        "for epoch in", "import trainwright as tw\nw = tw.watch(model, optimizer).attach()\nfor epoch in"
    )  # fmt: skip
    done = watched(script(text))
    assert (done.returncode, done.stdout.endswith("done\n")) == (0, True), done.stderr
    assert "watched already" in done.stderr


def test_a_script_that_cannot_be_compiled_reads_as_unwatched(script):
    path = script("x = (")
    without, done = plain(path), watched(path)
    assert done.returncode == without.returncode == 1
    assert done.stderr.startswith(without.stderr)


def test_what_would_lose_the_verdict_is_refused_before_training(script, tmp_path):
    path = script("print('trained')")
    for options in (
        ["--report", str(tmp_path / "no" / "v.txt")],
        ["--budget", "0"],
        ["--budget", "7"],
    ):
        done = watched(path, options=options)
        assert (done.returncode, done.stdout) == (2, "")
        assert "allowed" in done.stderr


def test_a_script_that_is_not_there_is_wrong_use(tmp_path):
    done = watched(tmp_path / "none.py")
    assert done.returncode == 2
    assert "there is no script" in done.stderr


def test_a_script_ended_by_a_signal_says_what_was_seen(script):
    text = TRAIN.format(head="", end="import time; print('ready', flush=True); time.sleep(60)")
    process = subprocess.Popen(
        [sys.executable, "-m", "trainwright.cli.watched", "0.02", "", "", "", str(script(text))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("ready"):
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "nothing wrong found" in error


KILLED = "import os, signal; sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)"


def test_a_killed_script_is_judged_by_what_was_read_until_then(script, tmp_path):
    text = TRAIN.format(head="", end=KILLED).replace("Adam(model.parameters(), 1e-2)",
                                                    "SGD(model.parameters(), 60.0)")  # fmt: skip
    done = watched(script(text))
    assert done.returncode == 128 + signal.SIGKILL
    assert done.stdout.startswith("loss ")
    first, *rest = done.stderr.splitlines()
    assert first == (
        "the script was ended by signal 9 (a common reason is that memory ran out); "
        "the verdict is of what was read until then"
    )
    assert "A401" in "".join(rest)
    place = tmp_path / "verdict.json"
    done = watched(script(text), options=["--json", "--report", str(place)])
    assert len(done.stderr.splitlines()) == 1
    verdict = json.loads(place.read_text())
    assert [f["code"] for f in verdict["findings"]] == ["A401"]
    assert any("killed" in u["reason"] for u in verdict["unseen"])
    assert verdict["steps"] >= 6  # what the opening alone reads


def test_a_script_killed_before_it_trains_has_no_verdict_and_says_so(script):
    done = watched(script(f"import sys\n{KILLED}"))
    assert done.returncode == 128 + signal.SIGKILL
    assert done.stderr == (
        "the script was ended by signal 9 (a common reason is that memory ran out); "
        "nothing was read, so that there is no verdict\n"
    )


def test_another_signal_is_no_lack_of_memory(script):
    done = watched(script("import os, signal; os.kill(os.getpid(), signal.SIGABRT)"))
    assert done.returncode == 128 + signal.SIGABRT
    assert done.stderr == (
        "the script was ended by signal 6; nothing was read, so that there is no verdict\n"
    )
