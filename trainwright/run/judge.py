"""How good is the network, honestly? Each split measured with intervals, the test rows looked at
once, other learners on the same rows, and whether deep learning was worth it here."""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch

from trainwright.core.records import Baseline, Metric, Notice, RunRecord, Split
from trainwright.data.batch import Examples
from trainwright.evaluate.metrics import score
from trainwright.evaluate.predict import Seen, predict
from trainwright.run.assemble import Assembly
from trainwright.run.messages import Compared, Listener

LOOK_BATCH = 1024  # examples per forward pass when only looking: fewer calls, bounded memory
MOST_SLICED_EXAMPLES = 20_000  # rows read again as text to look for slices in [assumed]
MOST_TRAIN_EXAMPLES = 50_000  # the training split is measured on at most this many [assumed]


def look(assembly: Assembly) -> Callable[[], Mapping[str, float]]:
    """A function that measures the validation split with the weights that would be kept."""
    valid = assembly.prepared.valid
    assert valid is not None
    task, encoder = valid.task, assembly.prepared.encoder
    average = assembly.trainee.average

    def measure_now() -> Mapping[str, float]:
        with average.applied() if average is not None else nullcontext():
            seen = _predict(assembly, valid, precision=assembly.trainee.precision.dtype)
        values = score(task, encoder.decode(seen.predictions), encoder.decode(seen.targets))
        return {"loss": float(seen.losses.mean()), **values}

    return measure_now


def judge_run(
    record: RunRecord, assembly: Assembly, listener: Listener, parts: dict[str, float]
) -> RunRecord:
    """The record with metrics, judgement, baselines and verdict of the weights in the module."""
    from trainwright.evaluate.judge import judge
    from trainwright.evaluate.metrics import measure, measure_loss

    began = time.perf_counter()
    prepared, seed = assembly.prepared, assembly.recipe.seed
    decode = prepared.encoder.decode
    splits: dict[Split, Examples | None] = {
        "train": prepared.train, "valid": prepared.valid, "test": prepared.test,
    }  # fmt: skip
    final: Split = "test" if prepared.test else "valid" if prepared.valid else "train"
    metrics: dict[str, Mapping[str, Metric]] = {}
    judgement = None
    predicted = np.zeros(0)
    for name, examples in splits.items():
        if examples is None:
            continue
        most = MOST_TRAIN_EXAMPLES if name == "train" else None
        seen = _predict(assembly, examples, most=most)
        values, targets = decode(seen.predictions), decode(seen.targets)
        metrics[name] = {
            "loss": measure_loss(seen.losses),
            **measure(examples.task, values, targets, seed=seed),
        }
        if name == final:
            predicted = values
            judgement = judge(
                examples.task, values, targets, seen.losses, examples, split=name, seed=seed,
                metrics=metrics[name], columns=_columns(assembly, examples),
            )  # fmt: skip
    record = replace(record, metrics=metrics, judgement=judgement)
    parts["judge"] = time.perf_counter() - began
    if wants_baselines(assembly):
        began = time.perf_counter()
        record = _with_baselines(record, assembly, predicted, final, listener)
        parts["baselines"] = time.perf_counter() - began
    return record


def _columns(assembly: Assembly, examples: Examples) -> dict[str, np.ndarray] | None:
    """The cells of a table as people know them, by column, to look for weak slices in; None for
    anything but a table, or for one too long to go through."""
    roles = {column.name: column.role for column in assembly.prepared.understanding.columns}
    if len(roles) < 2 or len(examples) > MOST_SLICED_EXAMPLES:
        return None
    rows = [examples.show(position).content for position in range(len(examples))]
    cells = {name: [row.get(name, "") for row in rows] for name in roles}
    return {
        name: _as_numbers(values) if roles[name] == "numeric" else np.array(values)
        for name, values in cells.items()
        if roles[name] in ("numeric", "categorical", "boolean")
    }


def _as_numbers(cells: list[str]) -> np.ndarray:
    def number(cell: str) -> float:
        try:
            return float(cell)
        except ValueError:
            return np.nan

    return np.array([number(cell) for cell in cells])


def wants_baselines(assembly: Assembly) -> bool:
    """`auto`: beside every fit but one of a live module."""
    wanted = assembly.recipe.baselines
    return assembly.recipe.live.model is None if wanted == "auto" else wanted


def _with_baselines(
    record: RunRecord, assembly: Assembly, predicted: np.ndarray, final: Split, listener: Listener
) -> RunRecord:
    from trainwright.evaluate.baselines import run_baselines
    from trainwright.evaluate.verdict import verdict

    prepared, recipe = assembly.prepared, assembly.recipe
    split = {"test": prepared.test, "valid": prepared.valid, "train": prepared.train}[final]
    assert split is not None
    if final == "train":
        notice = Notice(code="no_rows_to_compare_on")
        return replace(record, notices=(*record.notices, notice))

    def tell(baseline: Baseline) -> None:
        listener(Compared(baseline=baseline))

    found = run_baselines(
        prepared.train, prepared.valid, split, split.task, prepared.encoder,
        seed=recipe.seed, seconds=recipe.baseline_seconds, tell=tell,
    )  # fmt: skip
    targets = prepared.encoder.decode(split.targets().cpu().numpy())
    return replace(
        record,
        baselines=tuple(found.baselines),
        verdict=verdict(split.task, predicted, found, targets, seed=recipe.seed),
    )


def _predict(
    assembly: Assembly,
    examples: Examples,
    most: int | None = None,
    precision: torch.dtype | None = None,
) -> Seen:
    return predict(
        assembly.module, assembly.objective, examples, batch_size=LOOK_BATCH,
        device=assembly.trainee.device, most=most, precision=precision,
    )  # fmt: skip
