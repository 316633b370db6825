"""Shapes in annotations are checked while tests run, and their axes are named by one vocabulary."""

import ast
import re

import numpy as np
import pytest
import torch
from contract_source import ROOT, files, place, tree
from jaxtyping import TypeCheckError

from trainwright.algorithm.sampler import Weighted
from trainwright.data.batch import Batch
from trainwright.evaluate.counting import balanced_accuracy
from trainwright.loss.classes import multiclass_hinge
from trainwright.model.bag import TokenCounts
from trainwright.train.events import Stepped

TWO, THREE = torch.zeros(2, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
KINDS = {"Float", "Float32", "Float64", "Int", "Int8", "Int32", "Int64", "UInt8", "UInt64", "Bool",
         "Shaped", "Num", "Real"}  # fmt: skip

WRONG = {
    "algorithm": lambda: Weighted(seed=0, cumulated=torch.ones(3, 1, dtype=torch.float64)),
    "data": lambda: Batch(inputs=(torch.zeros(3, 4),), target=THREE, rows=TWO),
    "evaluate": lambda: balanced_accuracy(np.zeros(2, np.int64), np.zeros(3, np.int64)),
    "loss": lambda: multiclass_hinge(torch.zeros(2, 4), THREE),
    "model": lambda: TokenCounts(5, 2)(THREE),
    "train": lambda: Stepped(step=1, loss=torch.zeros(1), rate=0.1, batches=()),
}


def axes(path) -> set[str]:
    """The names of axes in one file's annotations: no numbers, dots or sizes in braces."""
    found = set()
    for node in ast.walk(tree(path)):
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id in KINDS
            and isinstance(node.slice, ast.Tuple)
            and isinstance(words := node.slice.elts[1], ast.Constant)
        ):
            bare = re.sub(r"\{[^}]*\}", "", str(words.value))
            found |= {word.lstrip("*") for word in bare.replace("...", "").split()}
    return {axis for axis in found if axis != "_" and not axis.isdigit()}


def vocabulary() -> set[str]:
    text = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    (paragraph,) = re.findall(r"\*\*What an axis is called\.\*\*.*?(?=\n\n|\Z)", text, re.DOTALL)
    return set(re.findall(r"`([a-z_]+)`", paragraph))


@pytest.mark.parametrize("room", WRONG)
def test_a_wrong_shape_is_refused_while_tests_run(room):
    with pytest.raises(TypeCheckError):
        WRONG[room]()


@pytest.mark.parametrize("path", [p for p in files() if axes(p)], ids=place)
def test_an_axis_is_called_by_a_word_of_the_vocabulary(path):
    assert axes(path) <= vocabulary()
