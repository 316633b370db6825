"""Where is the network right and where wrong? Everything about one split that a person would look
at: metrics, confusion, classes, calibration, the worst examples, slices."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int, Shaped

from trainwright.core.records import ClassRow, Example, Judgement, Metric, Split
from trainwright.core.task import Task
from trainwright.data.batch import Examples
from trainwright.evaluate.counting import reliability
from trainwright.evaluate.estimate import Predictions, Targets
from trainwright.evaluate.metrics import measure, measure_loss
from trainwright.evaluate.slices import find_slices

MOST_CONFUSED_CLASSES = 50  # a larger matrix cannot be read [assumed]
MOST_LISTED_CLASSES = 1000  # lines of the per-class table, commonest first [assumed]
NUM_WORST = 12
NUM_CELLS = 4  # kinds of mistakes of which examples are shown, the most frequent ones
NUM_PER_CELL = 3
NUM_RESIDUALS = 500  # points that a picture can hold [assumed]


def judge(
    task: Task,
    predictions: Predictions,
    targets: Targets,
    losses: Float[np.ndarray, " row"],
    examples: Examples,
    *,
    split: Split,
    seed: int,
    metrics: Mapping[str, Metric] | None = None,
    columns: Mapping[str, Shaped[np.ndarray, " row"]] | None = None,
) -> Judgement:
    """The judgement of one split; predictions and targets as `metrics.py` has them, [row, …] in the
    order of `examples`.

    `metrics` spares measuring again. `columns`: raw values by name, to look for slices in.
    """
    if metrics is None:
        measured = measure(task, predictions, targets, seed=seed)
        metrics = {"loss": measure_loss(losses), **measured}
    confusion: tuple[tuple[int, ...], ...] = ()
    mistakes: tuple[Example, ...] = ()
    bins = ()
    if task.kind in ("binary", "multiclass") and len(targets):
        chosen = predictions.argmax(axis=1)
        targets = targets.astype(np.intp)
        if len(task.classes) <= MOST_CONFUSED_CLASSES:
            matrix = _confusion(chosen, targets, len(task.classes))
            confusion = tuple(tuple(int(count) for count in line) for line in matrix)
            mistakes = _mistakes(task, matrix, predictions, targets, losses, examples)
        if np.isfinite(predictions).all():
            bins = reliability(predictions.max(axis=1), chosen == targets)
    return Judgement(
        split=split,
        metrics=metrics,
        confusion=confusion,
        confusion_examples=mistakes,
        per_class=_per_class(task, predictions, targets),
        reliability=bins,
        worst=_worst(task, predictions, targets, losses, examples),
        slices=find_slices(task, predictions, targets, columns) if columns else (),
        residuals=_residuals(predictions, targets, seed) if task.kind == "regression" else (),
    )


def _confusion(
    chosen: Int[np.ndarray, " row"], target: Int[np.ndarray, " row"], num_classes: int
) -> Int[np.ndarray, "{num_classes} {num_classes}"]:
    """Counts [true class, chosen class]."""
    cells = np.bincount(target * num_classes + chosen, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def _mistakes(
    task: Task, matrix: Int[np.ndarray, "class_ class_"],
    predictions: Float[np.ndarray, "row class_"], target: Int[np.ndarray, " row"],
    losses: Float[np.ndarray, " row"], examples: Examples,
) -> tuple[Example, ...]:  # fmt: skip
    """Of the most frequent confusions the examples of which the network was surest."""
    wrong = matrix - np.diag(np.diag(matrix))
    chosen, confidence = predictions.argmax(axis=1), predictions.max(axis=1)
    found: list[Example] = []
    for cell in np.argsort(-wrong, axis=None, kind="stable")[:NUM_CELLS]:
        true, guess = divmod(int(cell), len(matrix))
        if not wrong[true, guess]:
            break
        rows = np.flatnonzero((target == true) & (chosen == guess))
        surest = rows[np.argsort(-confidence[rows], kind="stable")][:NUM_PER_CELL]
        found += [_example(task, predictions, target, losses, examples, int(r)) for r in surest]
    return tuple(found)


def _worst(
    task: Task, predictions: Predictions, targets: Targets, losses: Float[np.ndarray, " row"],
    examples: Examples,
) -> tuple[Example, ...]:  # fmt: skip
    """The examples with the largest loss, NaN first."""
    severity = np.where(np.isnan(losses), np.inf, losses)
    rows = np.argsort(-severity, kind="stable")[:NUM_WORST]
    return tuple(_example(task, predictions, targets, losses, examples, int(r)) for r in rows)


def _example(
    task: Task, predictions: Predictions, targets: Targets, losses: Float[np.ndarray, " row"],
    examples: Examples, position: int,
) -> Example:  # fmt: skip
    shown = examples.show(position)
    prediction, target = predictions[position], targets[position]
    confidence = None
    match task.kind:
        case "binary" | "multiclass":
            guess, truth = task.classes[int(prediction.argmax())], task.classes[int(target)]
            confidence = float(prediction.max())
        case "multilabel":
            guess, truth = _labels(task, prediction), _labels(task, target)
        case "regression":
            guess, truth = _numbers(prediction), _numbers(target)
    return Example(
        row=shown.row,
        target=truth,
        prediction=guess,
        loss=float(losses[position]),
        confidence=confidence,
        content=shown.content,
        media=shown.media,
    )


def _labels(task: Task, values: Shaped[np.ndarray, " label"]) -> str:
    return ", ".join(n for n, v in zip(task.classes, values, strict=True) if v > 0.5)


def _numbers(values: Float[np.ndarray, " target"] | np.floating) -> str:
    return ", ".join(f"{float(value):.6g}" for value in np.atleast_1d(values))


def _per_class(task: Task, predictions: Predictions, targets: Targets) -> tuple[ClassRow, ...]:
    """precision = hits / chosen, recall = hits / true, F1 = 2 hits / (chosen + true), 0 where
    nothing divides; of the MOST_LISTED_CLASSES most frequent classes, in the task's order."""
    if task.kind == "regression" or not len(targets):
        return ()
    if task.kind == "multilabel":
        set_, true = predictions > 0.5, targets > 0.5
        hits, chosen, support = (x.sum(axis=0) for x in (set_ & true, set_, true))
    else:
        guess, num = predictions.argmax(axis=1), len(task.classes)
        hits = np.bincount(targets[guess == targets], minlength=num)
        chosen, support = np.bincount(guess, minlength=num), np.bincount(targets, minlength=num)
    listed = np.sort(np.argsort(-support, kind="stable")[:MOST_LISTED_CLASSES])
    return tuple(
        ClassRow(
            name=task.classes[c],
            precision=float(hits[c] / max(1, chosen[c])),
            recall=float(hits[c] / max(1, support[c])),
            f1=float(2 * hits[c] / max(1, chosen[c] + support[c])),
            support=int(support[c]),
        )
        for c in listed
    )


def _residuals(
    predictions: Predictions, targets: Targets, seed: int
) -> tuple[tuple[float, float], ...]:
    """(target, prediction) of a draw of rows; of several targets the first."""
    num = len(targets)
    rows = np.arange(num)
    if num > NUM_RESIDUALS:
        rows = np.sort(np.random.default_rng(seed).choice(num, NUM_RESIDUALS, replace=False))
    if not num:
        return ()
    true, guess = targets.reshape(num, -1)[rows, 0], predictions.reshape(num, -1)[rows, 0]
    return tuple((float(t), float(g)) for t, g in zip(true, guess, strict=True))
