"""Which edits change the inputs column by column? Each feature's range becomes 0 to 1, or columns
that teach nothing, or too much, are left out."""

import numpy as np
import torch
from torch import Tensor

from trainwright.check.sample import Sample
from trainwright.core.phrases import phrase
from trainwright.edit.data import Scaled, real_inputs, scaled_inputs
from trainwright.edit.edit import Context, Edit, nothing_to_change, refused
from trainwright.edit.program import Done, Program, mapped_inputs


def ranger(inputs: Tensor) -> Scaled:
    """Least value and range of each feature of a table [row, feature] or sequence [row, time,
    feature]; of images one of each, since their axes may lie in any order. What does not vary is
    only moved to 0."""
    axes = tuple(range(inputs.ndim - 1)) if inputs.ndim <= 3 else tuple(range(inputs.ndim))
    values, known = inputs.double(), torch.isfinite(inputs)
    low = torch.where(known, values, torch.inf).amin(axes, keepdim=True)
    high = torch.where(known, values, -torch.inf).amax(axes, keepdim=True)
    low, high = low.nan_to_num(posinf=0.0), high.nan_to_num(neginf=0.0)
    return Scaled(low, torch.where(high > low, high - low, 1.0))


def _min_max_inputs(program: Program, context: Context) -> Program:
    """(x - low) / (high - low) by the training rows' least and largest value of each feature: they
    lie in [0, 1], held-out ones nearly so. Source: LeCun et al. 1998, Efficient BackProp, section
    4.3, for why scales matter; the range instead of the spread where a feature has ends."""
    name = "min_max_inputs"
    inputs = real_inputs(program.train, name)
    axes = "0" if inputs.ndim <= 2 else "(0, 1)" if inputs.ndim == 3 else ""
    lines = (
        f"low, span = X_train.amin({axes}), X_train.amax({axes}) - X_train.amin({axes})",
        "span = torch.where(span > 0, span, 1)",
        "X_train, X_valid = (X_train - low) / span, (X_valid - low) / span",
    )
    scale = ranger(inputs)
    return scaled_inputs(program, name, scale, scale, lines)


class _Without:
    """0 in some columns [column] of a table [row, feature]."""

    def __init__(self, columns: tuple[int, ...]) -> None:
        self.columns = columns

    def __call__(self, x: Tensor) -> Tensor:
        left = x.clone()
        left[:, list(self.columns)] = 0
        return left


def _drop_columns(program: Program, context: Context) -> Program:
    """Leaves out columns that do not vary among the training rows, exact copies of an earlier one,
    and the one that alone gives the answer away, where that is the finding (D108).

    A live network cannot take fewer inputs than it was built for: so these columns are set to 0 in
    every split, which a network cannot learn from; the line to write takes them out, and says how
    many inputs the first layer has then. Source: Kaufman et al. 2012, Leakage in data mining.
    """
    name = "drop_columns"
    inputs = program.train.inputs[0]
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or inputs.ndim != 2:
        raise refused(name, phrase("the inputs are no table of real numbers"))
    accused = _given_away(context) & set(range(inputs.shape[1]))
    silent = sorted(accused.union(_silent(inputs)))
    if len(silent) == inputs.shape[1]:
        raise refused(name, phrase("no column would be left"))
    splits = [s for s in (program.train, program.judged, program.valid) if s is not None]
    if not any(_has_values(sample, silent) for sample in splits):
        raise nothing_to_change(name)
    without = _Without(tuple(silent))
    left = inputs.shape[1] - len(silent)
    lines = (f"kept = [i for i in range({inputs.shape[1]}) if i not in {silent}]",
             f"X = X[:, kept]  # and a first layer of {left} inputs")  # fmt: skip
    return program.after(
        Done(name=name, values={"count": len(silent)}, lines=lines),
        train=mapped_inputs(program.train, without),
        judged=mapped_inputs(program.judged, without),
        valid=mapped_inputs(program.valid, without) if program.valid is not None else None,
    )


def _given_away(context: Context) -> set[int]:
    """The column that the finding accuses of holding the answer."""
    finding = context.finding
    if finding is None or (finding.code, finding.kind) != ("D108", "single_feature"):
        return set()
    return {int(finding.values["feature"])}


def _silent(table: Tensor) -> list[int]:
    """Columns that do not vary, or that an earlier one equals in every row."""
    columns = (
        table.detach().cpu().double().numpy() + 0.0
    ).T  # no -0.0, which equals 0.0 in other bytes
    met: set[bytes] = set()
    found = []
    for number, column in enumerate(np.ascontiguousarray(columns)):
        known = column[np.isfinite(column)]
        varies = known.size > 0 and bool(known.min() < known.max())
        if not varies or column.tobytes() in met:
            found.append(number)
        met.add(column.tobytes())
    return found


def _has_values(sample: Sample, columns: list[int]) -> bool:
    return bool((sample.inputs[0][:, columns] != 0).any())


def edits() -> tuple[Edit, ...]:
    """All of this file; reasons are spoken when they are asked for."""
    scales = phrase("recipes scale by data.scale = 'standardise' or 'quantile'")
    ignored = phrase("name the column in the recipe: data.columns = {{name = 'ignored'}}")
    return (
        Edit(name="min_max_inputs", program=_min_max_inputs, instead=scales),
        Edit(name="drop_columns", program=_drop_columns, instead=ignored),
    )
