"""Files and functions stay small enough to be read in one go."""

import ast

import pytest
from contract_source import files, place, tree

MOST_LINES = 400
MOST_STATEMENTS = 40
# The loop is one path from batch to step, read from top to bottom: cutting it would hide the path.
EXCEPTIONS = {("trainwright/train/loop.py", "train"): 50}


def statements(function: ast.AST) -> int:
    """Statements in a function, those of functions within it included, docstrings not."""
    inside = [n for n in ast.walk(function) if isinstance(n, ast.stmt)]
    words = [n for n in inside if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)]
    return len(inside) - len(words) - 1


@pytest.mark.parametrize("path", files(), ids=place)
def test_a_file_is_read_in_one_go(path):
    num_lines = len(path.read_text(encoding="utf-8").splitlines())
    assert num_lines <= MOST_LINES


@pytest.mark.parametrize("path", files(), ids=place)
def test_a_function_does_one_thing(path):
    long = {
        f"{node.name} (line {node.lineno})": count
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (count := statements(node)) > EXCEPTIONS.get((place(path), node.name), MOST_STATEMENTS)
    }
    assert not long


@pytest.mark.parametrize("path", [p for p in files() if p.name != "__init__.py"], ids=place)
def test_a_file_opens_with_what_it_answers(path):
    words = ast.get_docstring(tree(path))
    assert words
    assert len(words.split()) >= 5
