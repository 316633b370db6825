"""What a hurried or hostile user types is answered in words: one exit code, three parts, nothing run
and nothing echoed raw, whatever the names, the places, the pipes and the locale."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trainwright.cli import output, use
from trainwright.cli.app import COMMANDS, run
from trainwright.store.open import open_store

ROWS = "a,b,target\n" + "".join(f"{i % 7},{i * 0.5},{'xy'[i % 2]}\n" for i in range(80))
FIT = ["fit", "t.csv", "--target", "target", "--budget", "3 steps", "--set", "baselines=false"]
NOT_UTF8 = os.fsdecode(b"caf\xe9.csv")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder with a small table."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(ROWS)
    return tmp_path


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """A folder with the small table and a finished run `one` on it."""
    folder = tmp_path_factory.mktemp("used")
    (folder / "t.csv").write_text(ROWS)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert run([*FIT, "--name", "one"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def there(used, monkeypatch):
    monkeypatch.chdir(used)
    return used


def refused(capsys, line, code=2):
    """What is said on the error stream; three parts, on lines of their own, and nothing raw."""
    capsys.readouterr()
    assert run(line) == code, line
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    assert "do: " in told.err
    for text in (told.err, told.out):
        assert all(c.isprintable() or c == "\n" for c in text), text
    return told.err


def shell(line, *, cwd, **environment):
    """The command in a shell, as `trainwright …`: exit code and both streams."""
    start = f"exec {sys.executable} -c 'from trainwright.cli.app import main; main()'"
    script = f'set -o pipefail; trainwright() {{ ( {start} "$@" ); }}; {line}'
    return subprocess.run(
        ["bash", "-c", script], cwd=cwd, capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )  # fmt: skip


# --- names and numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a/b", "..", "../one", "x" * 81, "\x1b[31m", "a b", NOT_UTF8])
def test_a_run_is_called_by_a_fit_name_or_refused_before_any_data_is_read(place, capsys, name):
    assert "name of a run" in refused(capsys, ["fit", "nowhere.csv", "--name", name])
    assert sorted(p.name for p in place.glob("*") if "trainwright" not in p.name) == ["t.csv"]


def test_a_taken_name_is_wrong_use_and_the_run_stays_as_it_was(there, capsys):
    before = open_store("trainwright.db").run("one")
    assert "already" in refused(capsys, [*FIT, "--name", "one"])
    assert "already" in refused(capsys, ["fit", "nowhere.csv", "--name", "one"])
    assert open_store("trainwright.db").run("one") == before


@pytest.mark.parametrize(
    "words",
    [
        ["--seed", "-1"],
        ["--seed", "9" * 30],
        ["--seed", "9" * 5000],
        ["--set", "seed=" + "9" * 5000],
        ["--set", "algorithm.clip_norm=true"],
        ["--budget", "0"],
        ["--budget", "0 steps"],
        ["--budget", "-3 epochs"],
        ["--budget", "1e30 epochs"],
        ["--budget", "nan s"],
        ["--target", "a", "--target", "b"],
        ["--target", "target,target"],
        ["--set", "="],
        ["--set", "a" * 5000 + "=1"],
        ["--set", "model.width=["],
        ["--set", "data.columns={" + NOT_UTF8 + "='numeric'}"],
        ["--set", "data.source="],
        ["--store", "folder\0name"],
        ["--store", "mongodb://x"],
        ["--store", "t.csv"],
        ["--store", "/proc/none/x.db"],
        ["--recipe", "."],
        ["--recipe", "t.csv"],
        ["--recipe", "a\0b"],
        ["--\x1b[31mred"],
        ["--tar\x1b[31mget", "x"],
        ["--target", "\x1b[31mx"],
        ["--budget", "\x1b[31m 3"],
        ["--seed", "\x1b[31m3"],
        ["\x9b31mmore"],
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_three_parts(place, capsys, words):
    refused(capsys, ["fit", "t.csv", "--set", "baselines=false", *words])


@pytest.mark.parametrize(
    "line",
    [
        ["\x1b[31mred"],
        ["explain", "\x1b[31mred"],
        ["show", "\x1b[31mone"],
        ["show", NOT_UTF8],
        ["show", "a\0b"],
        ["resume", "one"],
        ["runs", "--limit", "-1"],
        ["runs", "--limit", "9" * 30],
        ["sweep", "--older-than-days", "nan"],
        ["sweep", "--older-than-days", "-4"],
        ["recipe", "check", "nowhere.toml"],
        ["recipe", "schema", "--out", "."],
        ["recipe", "schema", "--out", "/proc/none/x"],
        ["recipe", "new", "t.csv", "--out", "."],
        ["report", "one", "--out", "."],
        ["report", "one", "--out", "t.csv/x.html"],
        ["report", "one", "--out", "r\0.html"],
        ["evaluate", "one", "nowhere.csv"],
        ["runs", "--store", "none/x.db"],
    ],
)
def test_other_commands_refuse_in_three_parts_too(there, capsys, line):
    refused(capsys, line)


# --- sources ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "foo://bar/x.csv",
        "ftp:",
        "sklearn:digts",
        "synthetic:",
        "*.nothing",
        "x" * 5000,
        "a\0b",
        "/dev/zero",
        "t.csv/inside.csv",
        "\x1b[31mt.csv",
        NOT_UTF8,
    ],
)
def test_a_source_that_is_none_is_refused_and_the_store_is_still_empty(place, capsys, source):
    Path(NOT_UTF8).write_text(ROWS)  # there, but no recipe can hold its name
    refused(capsys, ["fit", source])
    assert open_store("trainwright.db").runs() == []


def test_markup_emoji_and_ansi_in_names_and_classes_are_shown_as_they_are(place, capsys):
    names = [":warning:", "[bold]x[/bold]", "\x1b[31mred", "<script>", "../../etc", "=1+1"]
    lines = [",".join([*names, "target"])]
    for i in range(60):
        word = ("[red]y", ":heart:\x1b[5m")[i % 2]
        lines.append(",".join([str(i * 7 % 11 + j * i) for j in range(len(names))] + [word]))
    (place / "odd.csv").write_text("\n".join(lines))
    assert run(["fit", "odd.csv", "--budget", "3 steps", "--set", "baselines=false",
                "--name", "odd"]) == 0  # fmt: skip
    told = capsys.readouterr()
    assert run(["show", "odd"]) == 0
    assert run(["report", "odd", "--out", "r.html"]) == 0
    told = (told.out + told.err, capsys.readouterr().out)
    for text in told:
        assert "\x1b" not in text
    for name in (":warning:", "[bold]x[/bold]", "<script>", "../../etc", "=1+1"):
        assert name in told[0]
    page = (place / "r.html").read_text()
    assert "<script>" not in page.replace("&lt;script&gt;", "")
    assert "\x1b" not in page


# --- predictions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "out", [".", "", "/proc/none/p.csv", "t.csv/p.csv", "x" * 300 + ".csv", "p\0.csv", "p.xlsx"]
)
def test_a_place_for_predictions_that_cannot_be_is_refused(there, capsys, out):
    refused(capsys, ["predict", "one", "t.csv", "--out", out])


def test_predictions_never_replace_what_they_are_made_from(there, capsys):
    before = (there / "t.csv").read_bytes()
    assert "would be lost" in refused(capsys, ["predict", "one", "t.csv", "--out", "./t.csv"])
    assert (there / "t.csv").read_bytes() == before


@pytest.mark.parametrize("suffix", [suffix for suffix in use.WRITERS if suffix] + [".PARQUET"])
def test_predictions_are_written_as_the_name_says(there, capsys, suffix):
    out = f"new/folder/p{suffix}"
    assert run(["predict", "one", "t.csv", "--out", out]) == 0
    match suffix.lower():
        case ".parquet":
            found = polars.read_parquet(out)
        case ".arrow" | ".feather":
            found = polars.read_ipc(out)
        case ".jsonl" | ".ndjson":
            found = polars.read_ndjson(out)
        case _:
            found = polars.read_csv(out, separator="\t" if suffix == ".tsv" else ",")
    assert found.columns == ["prediction", "probability_x", "probability_y"]
    assert len(found) == 80


def test_a_file_name_of_other_bytes_is_read_and_written_though_no_recipe_can_hold_it(there, capsys):
    Path(NOT_UTF8).write_text(ROWS)
    assert run(["predict", "one", NOT_UTF8, "--out", os.fsdecode(b"p\xe9.csv")]) == 0
    assert Path(os.fsdecode(b"p\xe9.csv")).stat().st_size > 1000
    assert "\\udce9" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["array", "known", "synthetic"])
def test_what_was_learnt_from_by_name_can_be_predicted_and_evaluated_by_name(place, capsys, kind):
    random = np.random.default_rng(0)
    np.savez(place / "d.npz", X=random.normal(size=(60, 3)), y=np.arange(60) % 2)
    np.savez(place / "wide.npz", X=random.normal(size=(60, 5)), y=np.arange(60) % 2)
    source, rows = {
        "array": ("d.npz", 60), "known": ("sklearn:iris", 150), "synthetic": ("synthetic:xor", 1000)
    }[kind]  # fmt: skip
    assert run(["fit", source, "--budget", "3 steps", "--set", "baselines=false",
                "--name", "one"]) == 0  # fmt: skip
    assert run(["predict", "one", source, "--out", "p.csv"]) == 0
    assert len(polars.read_csv("p.csv")) == rows
    assert run(["evaluate", "one", source, "--json"]) == 0
    measured = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0 <= measured["metrics"]["accuracy"]["value"] <= 1
    assert "shape" in refused(capsys, ["predict", "one", "wide.npz"])  # by place: none may be left
    refused(capsys, ["evaluate", "one", "t.csv"])


def test_arrays_are_no_recordings(place, capsys):
    import soundfile

    random = np.random.default_rng(0)
    for i in range(12):
        path = place / "wav" / "ab"[i % 2] / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, random.normal(size=2000) * 0.1, 8000)
    np.savez(place / "d.npz", X=random.normal(size=(6, 3)), y=np.arange(6) % 2)
    assert run(["fit", "wav", "--budget", "1 steps", "--set", "baselines=false",
                "--name", "one"]) == 0  # fmt: skip
    assert "audio" in refused(capsys, ["predict", "one", "d.npz"])
    assert "path" in refused(capsys, ["predict", "one", "t.csv"])


# --- answers for machines ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (["fit", "nowhere.csv"], 2),
        (["fit", "t.csv", "--set", "model.widht=1", "--set", "sed=1"], 2),
        (["show", "nobody"], 2),
        (["fti"], 2),
        (["predict", "nobody", "t.csv"], 2),
    ],
)
def test_with_json_a_mistake_is_an_object_too(place, capsys, line, code):
    run(FIT)
    capsys.readouterr()
    assert run([*line, "--json"]) == code
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert (found["event"], found["exit_code"]) == ("error", code)
    assert found["what"]
    assert found["do"] or all(p["do"] for p in found["problems"])
    assert "error:" in told.err  # people read it on the other stream


def test_a_mistake_of_ours_is_a_traceback_for_people_and_an_object_for_machines(
    place, capsys, monkeypatch
):
    monkeypatch.setattr("trainwright.recipe.load", lambda path: 1 / 0)
    assert run(["recipe", "check", "r.toml", "--json"]) == 3
    told = capsys.readouterr()
    assert "ZeroDivisionError" in json.loads(told.out)["what"]
    assert "Traceback" in told.err


@pytest.mark.parametrize(
    "line",
    [
        ["runs"],
        ["show", "one"],
        ["report", "one", "--out", "r.html"],
        ["predict", "one", "t.csv", "--out", "p.csv"],
        ["evaluate", "one", "t.csv"],
        ["sweep"],
        ["explain", "learning_rate"],
        ["recipe", "new", "t.csv"],
        ["recipe", "schema"],
    ],
)
def test_every_command_takes_a_store_and_answers_in_json(there, capsys, line):
    assert run([*line, "--store", "trainwright.db", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


# --- pipes, terminals, locales ----------------------------------------------------------------------


def test_a_reader_that_leaves_is_no_mistake_and_a_run_goes_on_without_it(place, monkeypatch):
    fit = "trainwright fit t.csv --target target --budget 3steps --set baselines=false"
    found = shell(
        f"({fit} --name one 2>&1; echo one $? >> codes) | true;"
        "(trainwright predict one t.csv; echo predict $? >> codes) | true;"
        "(trainwright --help; echo help $? >> codes) | true",
        cwd=place,
    )
    codes = (place / "codes").read_text().split("\n")
    assert codes == ["one 0", "predict 0", "help 0", ""], found
    assert [row.state for row in open_store("trainwright.db").runs()] == ["finished"]
    # json lines, into a pipe that nobody reads, in this process
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert run([*FIT, "--name", "two", "--json"]) == 0
        assert run(["show", "two", "--json"]) == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_an_answer_that_finds_no_space_is_told_in_words(there):
    for line in ("show one", "predict one t.csv"):
        found = shell(f"trainwright {line} > /dev/full", cwd=there)
        assert found.returncode == 3, line
        assert "No space left" in found.stderr
        assert "Traceback" not in found.stderr


def test_an_encoding_without_our_characters_gets_their_escapes(there):
    for line in ("show nobody", "runs --json"):
        found = shell(
            f"trainwright {line} --language zh-Hant", cwd=there, PYTHONIOENCODING="latin-1"
        )
        assert found.returncode == (2 if "nobody" in line else 0), found.stderr
        assert "Traceback" not in found.stderr
        if "json" in line:
            assert json.loads(found.stdout)[0]["id"] == "one"
        else:
            assert "\\u" in found.stdout + found.stderr


@pytest.mark.parametrize("columns", ["1", "7", "20", "400"])
def test_any_width_of_terminal_is_written_to(there, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    output.console.cache_clear()
    output.error_console.cache_clear()
    try:
        for line in (["show", "one"], ["runs"], ["explain", "learning_rate"], ["--help"]):
            assert run(line) == 0
        assert "do: " in refused(capsys, ["show", "nobody"])
    finally:
        output.console.cache_clear()
        output.error_console.cache_clear()


@pytest.mark.parametrize("value", ["", "1"])
def test_no_color_is_heard_on_a_terminal(there, value):
    import pty

    def shown(**environment) -> bytes:
        master, slave = pty.openpty()
        code = "from trainwright.cli.app import main; main(['show', 'one'])"
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=slave, stderr=slave,
            env={**os.environ, "TERM": "xterm-256color"} | environment,
        ) as process:  # fmt: skip
            os.close(slave)
            text = b""
            while True:
                try:
                    part = os.read(master, 65536)
                except OSError:
                    break
                if not part:
                    break
                text += part
        os.close(master)
        assert process.returncode == 0
        return text

    coloured = re.search(rb"\x1b\[[0-9;]*3[0-7]m", shown(NO_COLOR=value))
    assert (coloured is not None) is (value == "")


def test_a_folder_and_a_file_without_permission_are_said(used, tmp_path):
    locked, secret = tmp_path / "locked", tmp_path / "secret.csv"
    locked.mkdir()
    (locked / "t.csv").write_text(ROWS)
    secret.write_text(ROWS)
    secret.chmod(0)
    locked.chmod(0o555)
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "b").mkdir(mode=0)  # passed over, a whole class would be missing
    lines = [
        FIT,
        ["fit", str(secret), "--store", str(tmp_path / "own.db")],
        ["predict", "one", "t.csv", "--store", str(used / "trainwright.db"), "--out", "p.csv"],
        ["predict", "one", str(secret), "--store", str(used / "trainwright.db")],
        ["recipe", "check", str(secret)],
        ["fit", str(tmp_path / "photos"), "--store", str(tmp_path / "own.db")],
        ["recipe", "schema", "--out", "s.json"],
    ]
    code = f"from trainwright.cli.app import run; print([run(line) for line in {lines!r}])"
    # root may do all, unless it is told not to
    setpriv = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("needs setpriv, for root is refused nothing")
    found = subprocess.run(
        [*(setpriv if os.geteuid() == 0 else ()), sys.executable, "-c", code],
        cwd=locked, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert found.stdout.strip() == str([2] * len(lines)), found.stderr
    assert found.stderr.count("error:") == found.stderr.count("do: ") == len(lines)
    assert found.stderr.count("Permission denied") >= 4
    assert "Traceback" not in found.stderr
    assert [entry.name for entry in locked.iterdir()] == ["t.csv"]


# --- signals ----------------------------------------------------------------------------------------


def test_sigterm_to_the_command_ends_with_code_130_and_a_checkpoint(place):
    code = "from trainwright.cli.app import main; main()"
    line = [
        "fit",
        "t.csv",
        "--target",
        "target",
        "--budget",
        "1e7 steps",
        "--json",
        "--name",
        "one",
    ]
    with subprocess.Popen(
        [sys.executable, "-c", code, *line], stdout=subprocess.PIPE, text=True, cwd=place,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for text in process.stdout:
            if json.loads(text)["event"] == "progress":
                process.send_signal(signal.SIGTERM)
                break
        last = process.stdout.read().splitlines()[-1]
    assert process.returncode == 130
    assert json.loads(last)["state"] == "interrupted"
    record = open_store("trainwright.db").run("one")
    assert record.state == "interrupted"
    (saved, *_) = open_store("trainwright.db").checkpoints("one", kind="latest")
    assert saved.step == record.steps > 0


def test_ctrl_c_before_anything_runs_is_said_in_a_word(place, capsys, monkeypatch):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("trainwright.recipe.load", interrupted)
    assert run(["recipe", "check", "r.toml", "--json"]) == 130
    told = capsys.readouterr()
    assert told.err == "interrupted\n"
    assert json.loads(told.out)["exit_code"] == 130


# --- anything ---------------------------------------------------------------------------------------

ODD = st.sampled_from(
    ["", " ", "-", "--", "=", "a=b", "model.width=3", "loss.name=zero_one", "t.csv", "nowhere.csv",
     ".", "..", "/", "/dev/null", "*", "[", "a\0b", "\x1b[31mx", NOT_UTF8, "٣", "-1", "1e999",
     "nan", "9" * 400, "one", "on", "sklearn:", "synthetic:xor?", "s3://", "learning_rate",
     "{0}", "%s", "$(x)", ":heart:", "[/]", "\\", "a" * 300, "sqlite:///", "--help", "-h"]
)  # fmt: skip
WORDS = st.one_of(ODD, st.text(max_size=8))
OPTIONS = st.sampled_from(
    ["--target", "--recipe", "--set", "--store", "--name", "--seed", "--budget", "--allow-code",
     "--json", "--out", "--limit", "--older-than-days", "--dry-run", "--language", "--sot"]
)  # fmt: skip
LINES = st.one_of(
    st.builds(
        lambda command, words, pairs: [*command, *words, *(w for pair in pairs for w in pair)],
        st.sampled_from(
            [[name] for name in COMMANDS if name not in ("fit", "watch")]  # a script answers itself
            + [["recipe", "check"], ["recipe", "new"], ["recipe", "schema"]]
        ),
        st.lists(WORDS, max_size=2),
        st.lists(st.tuples(OPTIONS, WORDS), max_size=3),
    ),
    st.builds(  # what is fitted is no table: nothing is trained, whatever else is said
        lambda pairs: ["fit", "nowhere.csv", *(w for pair in pairs for w in pair)],
        st.lists(st.tuples(OPTIONS, WORDS), max_size=4),
    ),
    st.lists(st.one_of(WORDS, OPTIONS), max_size=4),
)


@given(LINES)
@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(["recipe", "schema", "--out", "."])
@example(["show", NOT_UTF8])
@example([NOT_UTF8, "--json"])
@example(["runs", "--limit", "9" * 30])
@example(["--help", "--language", "zh-Hant"])
def test_any_command_line_is_answered_in_words(used, tmp_path, capsys, line):
    os.chdir(tmp_path)  # a line may write a file
    for name in ("t.csv", "trainwright.db", "trainwright.files"):
        if not (tmp_path / name).exists():
            (tmp_path / name).symlink_to(used / name)
    code = run(line)
    told = capsys.readouterr()
    assert code in (0, 2), (line, told.err)
    assert "Traceback" not in told.err
    assert "\x1b" not in told.err + told.out
