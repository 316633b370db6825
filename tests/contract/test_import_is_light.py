"""`import trainwright` and the recipe's knobs cost little: heavy libraries wait until needed."""

import subprocess
import sys

import pytest

HEAVY = (
    "torch", "numpy", "polars", "pyarrow", "sklearn", "scipy", "matplotlib", "sqlalchemy", "PIL",
    "soundfile", "tokenizers", "torchmetrics", "pandas", "fsspec",
)  # fmt: skip


def loaded_by(code: str, names: tuple[str, ...]) -> list[str]:
    ask = f"{code}\nimport sys\nprint([n for n in {names!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [name for name in HEAVY + ("pydantic", "rich", "cyclopts", "torch._dynamo")
            if repr(name) in done.stdout]  # fmt: skip


def test_importing_the_package_imports_next_to_nothing():
    assert loaded_by("import trainwright", (*HEAVY, "pydantic", "rich", "cyclopts")) == []


@pytest.mark.parametrize(
    "module",
    [
        "trainwright.recipe",
        "trainwright.core.records",
        "trainwright.core.words",
        "trainwright.core.knob",
        "trainwright.data.knobs",
        "trainwright.model.knobs",
        "trainwright.loss.knobs",
        "trainwright.algorithm.knobs",
    ],
)
def test_recipes_are_read_without_heavy_libraries(module):
    assert loaded_by(f"import {module}", HEAVY) == []


def test_help_is_shown_without_heavy_libraries():
    code = (
        "import contextlib, io\n"
        "from trainwright.cli.app import run\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    assert run(['--help']) == 0"
    )
    assert loaded_by(code, HEAVY) == []


def test_the_public_names_are_these_and_each_can_be_had():
    code = (
        "import trainwright as tw\n"
        "assert tw.__all__ == ['Diagnosis', 'Recipe', 'Run', 'TrainwrightError', 'check', 'compare', "
        "'diagnose', 'exam', 'fit', 'heal', 'load', 'resume', 'try_remedy', 'watch']\n"
        "assert all(getattr(tw, name) is not None for name in tw.__all__)"
    )
    assert "torch._dynamo" not in loaded_by(code, ("torch._dynamo",))


def test_a_room_never_takes_the_place_of_the_function_of_its_name():
    code = (
        "import trainwright.watch, trainwright.check, trainwright.diagnose\n"
        "import trainwright as tw, types\n"
        "assert not [n for n in tw.__all__ if isinstance(getattr(tw, n), types.ModuleType)]\n"
        "from trainwright.diagnose import catalogue\n"
        "assert catalogue.RULES"
    )
    assert loaded_by(code, ("torch",)) == []
