"""What do simple learners reach on the same rows? Constant, linear, tree, SVM and boosted trees
from scikit-learn, in the seconds that they are given."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from trainwright.core.records import Baseline, Notice
from trainwright.core.seeds import derive
from trainwright.core.task import LOWER_IS_BETTER, Task
from trainwright.data.batch import Encoder, Examples
from trainwright.evaluate.estimate import Predictions, Targets
from trainwright.evaluate.flatten import (
    MOST_FEATURES,
    Rows,
    is_pooled,
    read_in_parts,
    read_some,
)
from trainwright.evaluate.learners import Predict, fit_learner, learners_for
from trainwright.evaluate.metrics import measure, primary_metric, score

MOST_ROWS = 100_000  # fitted on at most this many rows, whatever the time [assumed]
PILOT_ROWS = 300  # the fit whose time tells how long a larger one takes [assumed]
WORTHWHILE = 2.0  # a refit on fewer than so many times the rows is not worth its time [assumed]
# Fitting time grows as rows to this power, on the safe side. [assumed]
GROWTH = {"logistic": 1.2, "linear": 1.2, "tree": 1.2, "linear_svm": 1.4, "boosted_trees": 1.0}
# Shares of the time left when its turn comes; what is not used passes on. [assumed]
SHARE = {"logistic": 0.3, "linear": 0.3, "tree": 0.3, "linear_svm": 0.4, "boosted_trees": 1.0}
MOST_BOOSTED_CLASSES = 200  # a tree per class and round takes minutes beyond [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineResults:
    """Records in order of fitting, each one's predictions on the compared rows (numbers in the
    user's unit), and the name of the best by the validation rows (None without those)."""

    baselines: tuple[Baseline, ...]
    predictions: Mapping[str, Predictions]
    chosen: str | None


@dataclass(slots=True, kw_only=True)
class _Fit:
    """One learner on its way."""

    name: str
    predict: Predict | None = None
    seconds: float = 0.0
    notices: list[Notice] = field(default_factory=list)
    valid: list[Predictions] = field(default_factory=list)
    final: list[Predictions] = field(default_factory=list)


def run_baselines(
    train: Examples,
    valid: Examples | None,
    final: Examples,
    task: Task,
    encoder: Encoder,
    *,
    seed: int,
    seconds: float,
    tell: Callable[[Baseline], None] | None = None,
) -> BaselineResults:
    """Fits each learner on `train` and measures it on `final`, in about `seconds` (the import of
    scikit-learn and predictions come on top).

    A learner gets as many rows as smaller fits say it can have in its time; the rest, and
    learners that fail or would take too long, are told in notices: nothing is raised.
    """
    with _quiet_and_on_our_threads():
        clock = _Clock(seconds=seconds)
        rows = read_some(train, seed=derive(seed, "baseline rows"), most=MOST_ROWS)
        fits = [_fitted(name, task, rows, len(train), seed, clock) for name in learners_for(task)]
        if is_pooled(train.signature):
            pooled = Notice(code="baseline_pooled", values={"features": MOST_FEATURES})
            for fit in fits[1:]:
                fit.notices.append(pooled)
        valid_target = None
        if valid is not None and valid is not final and len(valid):
            valid_target = encoder.decode(_predict_all(fits, valid, "valid"))
        target = encoder.decode(_predict_all(fits, final, "final"))
    predictions = _decoded(fits, "final", encoder)
    records = []
    for fit in fits:
        metrics = measure(task, predictions[fit.name], target) if fit.name in predictions else {}
        record = Baseline(
            name=fit.name, metrics=metrics, seconds=fit.seconds, notices=tuple(fit.notices)
        )
        records.append(record)
        if tell is not None:
            tell(record)
    chosen = None
    if valid_target is not None:
        chosen = best_of(task, _decoded(fits, "valid", encoder), valid_target)
    return BaselineResults(baselines=tuple(records), predictions=predictions, chosen=chosen)


def best_of(task: Task, predictions: Mapping[str, Predictions], target: Targets) -> str | None:
    """The name whose predictions have the best primary metric; the first of equals."""
    metric = primary_metric(task, target)
    sign = -1 if metric in LOWER_IS_BETTER else 1
    values = {n: sign * score(task, p, target)[metric] for n, p in predictions.items()}
    finite = {name: value for name, value in values.items() if np.isfinite(value)}
    return max(finite, key=finite.__getitem__) if finite else None


class _Clock:
    """Seconds left of an allowance."""

    def __init__(self, *, seconds: float) -> None:
        self._end = time.perf_counter() + seconds

    @property
    def left(self) -> float:
        return max(0.0, self._end - time.perf_counter())


def _fitted(name: str, task: Task, rows: Rows, total: int, seed: int, clock: _Clock) -> _Fit:
    fit = _Fit(name=name)
    began = time.perf_counter()
    seed = derive(seed, "baseline", name)
    try:
        if name == "constant":
            fit.predict = fit_learner(name, task, rows, seed=seed)
        else:
            _fit_in_time(fit, task, rows, total, seed, clock)
    except Exception as error:  # a baseline's failure must never end the user's run
        fit.predict = None
        fit.notices.append(_failure(name, error))
    fit.seconds = time.perf_counter() - began
    return fit


def _fit_in_time(fit: _Fit, task: Task, rows: Rows, total: int, seed: int, clock: _Clock) -> None:
    """Draws the rows that time allows and fits on them; in `fit.notices` what was not done."""
    name = fit.name
    allowed = clock.left * SHARE[name]
    if allowed <= 0 or (name == "boosted_trees" and len(task.classes) > MOST_BOOSTED_CLASSES):
        fit.notices.append(Notice(code="baseline_skipped", values={"name": name}))
        return
    order = np.random.default_rng(seed).permutation(len(rows))
    num = len(rows) if len(rows) <= 2 * PILOT_ROWS else PILOT_ROWS
    while True:
        began = time.perf_counter()
        fit.predict = fit_learner(name, task, rows.take(np.sort(order[:num])), seed=seed)
        took = max(time.perf_counter() - began, 1e-4)
        allowed -= took
        more = min(len(rows), int(num * (max(0.0, allowed) / took) ** (1 / GROWTH[name])))
        if num == len(rows) or more < min(len(rows), WORTHWHILE * num):
            break
        num = more  # what a small fit costs beside its rows makes each guess a cautious one
    if num < total:
        values = {"name": name, "rows": num, "total": total}
        fit.notices.append(Notice(code="baseline_subsampled", values=values))


def _predict_all(fits: list[_Fit], examples: Examples, split: str) -> Targets:
    """Adds each learner's predictions for a split, read once; returns the targets."""
    targets = []
    for rows in read_in_parts(examples):
        targets.append(rows.target)
        for fit in fits:
            if fit.predict is None:
                continue
            began = time.perf_counter()
            try:
                getattr(fit, split).append(fit.predict(rows))
            except Exception as error:  # as when fitting
                fit.predict = None
                fit.notices.append(_failure(fit.name, error))
            fit.seconds += time.perf_counter() - began
    return np.concatenate(targets)


def _decoded(fits: list[_Fit], split: str, encoder: Encoder) -> dict[str, Predictions]:
    done = [fit for fit in fits if fit.predict is not None]
    return {fit.name: encoder.decode(np.concatenate(getattr(fit, split))) for fit in done}


def _failure(name: str, error: Exception) -> Notice:
    reason = f"{type(error).__name__}: {str(error)[:200]}"
    return Notice(code="baseline_failed", values={"name": name, "reason": reason})


@contextmanager
def _quiet_and_on_our_threads() -> Iterator[None]:
    """scikit-learn without its warnings (slow convergence is no news here), on torch's threads."""
    import torch
    from sklearn import ensemble, linear_model, svm, tree  # noqa: F401  their import is not timed
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(limits=torch.get_num_threads()):
        warnings.simplefilter("ignore")
        yield
