"""What the README and the guide show, works: every command and the Python lines are run as written,
on small data of the kind that they name."""

import re
import runpy
import shlex
import subprocess
from pathlib import Path

import numpy as np
import polars
import pytest
from PIL import Image

from trainwright.cli.app import run
from trainwright.remedy import heal
from trainwright.train import plan

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "docs/guide.md"]
NEEDS_A_SERVER = "postgresql://"  # tests/store run against a real one


def commands() -> list[str]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"```console.*?```", "", text, flags=re.S)  # a transcript is not a command
        found += re.findall(r"^    (trainwright .*)$", text, flags=re.M)
        found += re.findall(r"`(trainwright [a-z][^`]*)`", text)
    return list(dict.fromkeys(c for c in found if " RUN" not in c and " KNOB" not in c))


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with every file that the pages name, and short trainings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan, "AUTO_STEPS_LOW", 20)
    monkeypatch.setattr(plan, "AUTO_STEPS_HIGH", 20)
    monkeypatch.setattr(heal, "LEAST_SECONDS", 2.0)
    monkeypatch.setattr(heal, "MOST_SECONDS", 2.0)
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # arms run here: each process imports torch
    rng = np.random.default_rng(0)
    rows = {"age": rng.integers(18, 90, 150), "zip": rng.integers(1, 5, 150)}
    table = polars.DataFrame(rows | {"churned": [("no", "yes")[int(a > 50)] for a in rows["age"]]})
    for name in ("customers.csv", "data.csv", "new.csv"):
        table.write_csv(tmp_path / name)
    (tmp_path / "train.py").write_text("print('nothing to train')")
    for name, rate in (("a.toml", 1e-3), ("b.toml", 1e-2)):
        (tmp_path / name).write_text(
            'budget = "20 steps"\n[data]\nsource = "customers.csv"\ntarget = "churned"\n'
            f"[algorithm]\nlearning_rate = {rate}\n"
        )
    for kind in ("cat", "dog"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / kind / f"{i}.jpg")
    assert (
        run(["fit", "customers.csv", "--name", "swift-otter-12", "--set", "baselines=false"]) == 0
    )
    assert run(["recipe", "new", "customers.csv", "--out", "recipe.toml"]) == 0
    return tmp_path


def test_every_command_of_the_pages_runs(desk, capsys):
    shown = [c for c in commands() if NEEDS_A_SERVER not in c]
    assert len(shown) >= 10
    for command in shown:
        words = shlex.split(command)[1:]
        if words[0] == "resume":  # the run on the desk is finished: the refusal says so
            assert run(words) == 2
            assert "nothing to resume" in capsys.readouterr().err
        else:
            assert run(words) == 0, (command, capsys.readouterr().err)


def test_the_python_lines_of_the_readme_run(desk):
    blocks = re.findall(r"```python\n(.*?)```", PAGES[0].read_text(encoding="utf-8"), flags=re.S)
    assert len(blocks) == 2
    (desk / "lines.py").write_text(
        "import numpy as np\nfrom torch import nn\n"
        "X = np.random.default_rng(0).normal(size=(80, 4)).astype('float32')\n"
        "y = (X[:, 0] > 0).astype(int)\nX_new = X[:5]\n"
        "class MyNet(nn.Linear):\n    def __init__(self, in_features, num_outputs):\n"
        "        super().__init__(in_features, num_outputs)\n"
        + blocks[0]
        + "import torch\nX, y = torch.tensor(X), torch.tensor(y)\n"
        "model, criterion, loader = MyNet(4, 2), nn.CrossEntropyLoss(), [(X, y)] * 10\n"
        "optimizer = torch.optim.SGD(model.parameters(), 0.1)\n" + blocks[1]
    )
    result = runpy.run_path(str(desk / "lines.py"))
    assert result["run"].state == "finished"
    assert (desk / "report.html").exists()


def test_make_knows_the_readmes_targets():
    for target in ("demo", "test"):
        listed = subprocess.run(
            ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert listed.stdout
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_the_readme_stays_short_and_its_picture_exists():
    text = PAGES[0].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (ROOT / picture).stat().st_size > 10_000
    assert "@@" not in text
