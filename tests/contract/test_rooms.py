"""The rooms are the ones written down, and imports only go down."""

import ast
import subprocess
import sys
import tomllib

from contract_source import PACKAGE, ROOT, files, place, tree

IMPORT_LINTER = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports())"


def layers():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (contract,) = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    return [[room.strip().partition(".")[2] for room in line.split("|")]
            for line in contract["layers"]]  # fmt: skip


def test_imports_only_go_down():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_LINTER],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_every_room_has_its_place_in_the_order():
    written = {room for line in layers() for room in line}
    folders = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    modules = {p.stem for p in PACKAGE.glob("*.py")} - {"__init__"}
    assert written == folders | modules


def test_every_folder_with_python_is_a_package():
    bare = {place(p.parent) for p in files() if not (p.parent / "__init__.py").exists()}
    assert not bare


def test_no_import_hides_behind_a_cycle():
    """Relative and starred imports would slip past a reader, `utils` past everybody."""
    wrong = []
    for path in files():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and (node.level or node.names[0].name == "*"):
                wrong.append(f"{place(path)}:{node.lineno}")
        if path.stem in {"utils", "common", "helpers", "misc", "base", "manager"}:
            wrong.append(place(path))
    assert not wrong


def test_nothing_of_a_file_is_ever_run_as_code():
    """No pickle, eval, exec, and torch.load nowhere: data and checkpoints are read as data."""
    wrong = []
    for path in files():
        for node in ast.walk(tree(path)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = [f"{node.func.id}()"]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                names = [f"{getattr(node.func.value, 'id', '')}.{node.func.attr}()"]
            bad = {"pickle", "dill", "joblib", "marshal", "shelve", "eval()", "exec()",
                   "torch.load()", "os.system()", "yaml.load()"}  # fmt: skip
            wrong += [f"{place(path)}:{node.lineno}: {n}" for n in names if n in bad]
    assert not wrong
