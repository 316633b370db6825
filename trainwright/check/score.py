"""How good are the answers, and how good can they be? Quick learners, cross-validated, say what can
be had from these inputs; the trained model is scored the same way."""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.check.data import flat, input_kind, labels
from trainwright.check.pairing.head import class_axis
from trainwright.check.sample import (
    Sample,
    Subject,
    first_tensor,
    same_random_states,
    sample_device,
    sample_from,
    unwrapped,
)
from trainwright.core.facts import Facts, ScoreFacts, TargetFacts

MOST_ROWS = 1000  # a kernel matrix of these is solved in 0.05 s
FEWEST_ROWS = 20  # below, cross-validation says nothing
MOST_FEATURES = 200
NUM_FOLDS = 3
NUM_TREES = 50
GAMMAS = (1.0, 0.1, 10.0)  # times 1 / num_features, of standardised features
RIDGES = (1e-3, 1e-1)  # times the number of rows' scale
TREES_AT = (
    2.0  # seconds allowed, from which scikit-learn is loaded for trees if it is not yet there
)
Metric = Literal["accuracy", "r2"]
Learner = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # fit rows, goal, new rows


def reference_facts(
    sample: Sample, valid: Sample | None, targets: TargetFacts, *, seconds: float = 0.5
) -> ScoreFacts:  # fmt: skip
    """What a constant, a linear and the best of several quick learners reach.

    On the validation split where it is given and large enough, else by NUM_FOLDS folds of the
    training sample. Learners: ridge, 5 nearest neighbours, kernel ridge (Gaussian, quadratic) on
    standardised and on ranked features, extremely randomised trees.
    """
    metric: Metric = "r2" if targets.task == "regression" else "accuracy"
    train = sample.rows(MOST_ROWS)
    held = valid.rows(MOST_ROWS) if valid is not None and valid.num_rows >= FEWEST_ROWS else None
    goal = _goal(train.targets, targets)
    held_goal = _goal(held.targets, targets) if held is not None else None
    blank = ScoreFacts(metric=metric, constant=_majority(targets), num_train=sample.num_rows,
                       num_valid=valid.num_rows if valid is not None else 0)  # fmt: skip
    if goal is None:
        return blank
    x, new = _features(train), _features(held) if held is not None else None
    folds = _folds(goal, held_goal)
    constant = _constant(folds, targets)
    if len(goal) < FEWEST_ROWS or x is None or (held is not None and new is None):
        return replace(blank, constant=constant)
    table = _table(x, new)
    found = _tried(table, folds, metric, targets, seconds)
    name = max(found, key=lambda n: found[n][0])
    return replace(
        blank, constant=constant, linear=found["linear"][0], reference_name=name,
        reference=max(found[name][0], constant), reference_sd=found[name][1],
    )  # fmt: skip


# --- goals and scores ----------------------------------------------------------------------------


def _goal(targets: Any, facts: TargetFacts) -> np.ndarray | None:
    """[example, column]: one-hot classes, bits, or numbers."""
    if not isinstance(targets, Tensor) or facts.task in ("sequence", "other"):
        return None
    if facts.task == "regression" or facts.task == "multilabel":
        values = np.nan_to_num(flat(targets))
        return values if values.shape[1] <= 256 else None
    classes = labels(targets, facts.kind)
    if classes is None or not 2 <= facts.num_classes <= 1000:
        return None
    inside = np.clip(classes, 0, facts.num_classes - 1)
    return np.eye(facts.num_classes)[inside]


def _majority(facts: TargetFacts) -> float:
    if facts.task == "regression" or not facts.counts:
        return 0.0
    return max(facts.counts) / max(1, sum(facts.counts))


def _each(guess: np.ndarray, real: np.ndarray, facts: TargetFacts) -> np.ndarray:
    """Per example: right or not, or the squared error."""
    if facts.task == "regression":
        return ((guess - real) ** 2).mean(1)
    if facts.task == "multilabel":
        return ((guess > 0.5) == (real > 0.5)).all(1).astype(float)
    return (guess.argmax(1) == real.argmax(1)).astype(float)


Scored = tuple[float, float]  # and its standard error
Fold = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # fit rows, goal, score rows, goal


def _folds(goal: np.ndarray, held: np.ndarray | None) -> list[Fold]:
    everyone = np.arange(len(goal))
    if held is not None:
        return [(everyone, goal, len(goal) + np.arange(len(held)), held)]
    if len(goal) < FEWEST_ROWS:  # only a constant is asked for
        return [(everyone, goal, everyone, goal)]
    fold = np.random.default_rng(0).permutation(len(goal)) % NUM_FOLDS
    return [(everyone[fold != k], goal[fold != k], everyone[fold == k], goal[fold == k])
            for k in range(NUM_FOLDS)]  # fmt: skip


def _constant(folds: list[Fold], facts: TargetFacts) -> float:
    """The best constant answer on the rows that are scored."""
    if facts.task == "regression":
        return 0.0
    real = np.concatenate([f[3] for f in folds])
    if facts.task == "multilabel":
        return float(np.unique(real, axis=0, return_counts=True)[1].max() / len(real))
    return float(real.mean(0).max())


def _mean_score(
    folds: list[Fold], predict: Callable[[np.ndarray, np.ndarray, Any], np.ndarray],
    metric: Metric, facts: TargetFacts,
) -> tuple[float, float]:  # fmt: skip
    """(score over all folds, its standard error). `predict` gets rows, goal, number to score."""
    each, spread = [], []
    for rows, goal, scored, real in folds:
        each.append(_each(predict(rows, goal, len(scored)), real, facts))
        spread.append(((real - real.mean(0)) ** 2).mean(1))
    return _summed(np.concatenate(each), np.concatenate(spread), metric)


def _summed(each: np.ndarray, spread: np.ndarray, metric: Metric) -> tuple[float, float]:
    error = float(each.std() / np.sqrt(max(1, len(each))))
    if metric == "accuracy":
        return float(each.mean()), error
    variance = max(float(spread.mean()), 1e-12)
    return 1 - float(each.mean()) / variance, error / variance


# --- learners ------------------------------------------------------------------------------------


def _features(sample: Sample) -> np.ndarray | None:
    """[example, number]; tokens as counts of the commonest ones."""
    parts = []
    for x in sample.inputs:
        if not isinstance(x, Tensor):
            continue
        if input_kind(x) == "tokens" and x.ndim == 2 and int(x.max()) < 1_000_000:
            parts.append(_token_counts(x))
        else:
            parts.append(np.nan_to_num(flat(x), posinf=0.0, neginf=0.0))
    return np.concatenate(parts, 1) if parts else None


def _token_counts(x: Tensor) -> np.ndarray:
    """How often each of 512 buckets of tokens occurs in a row."""
    buckets = x.detach().cpu().long().clamp(min=0).numpy() % 512
    counts = np.zeros((len(buckets), 512))
    np.add.at(counts, (np.arange(len(buckets))[:, None], buckets), 1.0)
    return counts


def _table(x: np.ndarray, new: np.ndarray | None) -> dict[str, np.ndarray]:
    """Standardised, ranked and raw features, training rows first; many are reduced to the leading
    principal components."""
    both = x if new is None else np.concatenate([x, new])
    n = len(x)
    mean, sd = x.mean(0), x.std(0)
    use = sd > 1e-9 * np.maximum(1.0, np.abs(mean))
    scaled = np.clip((both[:, use] - mean[use]) / sd[use], -20, 20)
    raw = both[:, use]
    if scaled.shape[1] > MOST_FEATURES:
        scaled = raw = _leading(scaled, n)
        return {"scaled": scaled / scaled[:n].std(), "raw": raw}
    ranks = np.stack([np.searchsorted(np.sort(c[:n]), c) / n for c in scaled.T], 1) if use.any() \
        else scaled  # fmt: skip
    return {"scaled": scaled, "ranked": (ranks - 0.5) * 3.46, "raw": raw}


def _leading(rows: np.ndarray, n: int) -> np.ndarray:
    """Projection on 100 leading directions of the first n rows (randomised)."""
    own = np.random.default_rng(0)
    fit = rows[:n]
    q = np.linalg.qr(fit.T @ (fit @ own.standard_normal((fit.shape[1], 100))))[0]
    q = np.linalg.qr(fit.T @ (fit @ q))[0]
    return rows @ q


def _tried(
    table: dict[str, np.ndarray], folds: list[Fold], metric: Metric, facts: TargetFacts,
    seconds: float,
) -> dict[str, Scored]:  # fmt: skip
    """Score and its error by learner, cheap ones first, until time is up or nothing can be won."""
    began = time.perf_counter()
    scaled = table["scaled"]
    kernels: dict[str, Callable[[], np.ndarray]] = {"neighbours": lambda: -_distances(scaled)}
    for gamma in GAMMAS:
        for kind in ("scaled", "ranked")[: len(table) - 1]:
            kernels[f"gaussian {gamma:g} {kind}"] = lambda g=gamma, k=kind: np.exp(
                -g * _distances(table[k]) / max(1, table[k].shape[1])
            )
    kernels["quadratic"] = lambda: (scaled @ scaled.T / max(1, scaled.shape[1]) + 1.0) ** 2
    found: dict[str, Scored] = {"linear": _linear(scaled, folds, metric, facts)}
    for name, kernel in kernels.items():
        spent = time.perf_counter() - began
        best = max((s for s, _ in found.values()), default=-np.inf)
        if spent > seconds or best > 0.999:
            break
        matrix = kernel()
        ridges = (0.0,) if name == "neighbours" else RIDGES
        for score in _kernel_scores(matrix, folds, metric, facts, ridges):
            found[name] = max(found.get(name, score), score)
    loaded = "sklearn.ensemble" in sys.modules or seconds >= TREES_AT
    if loaded and max(s for s, _ in found.values()) < 0.99 and facts.task != "multilabel":
        found["trees"] = _mean_score(folds, _trees(table["raw"], folds, facts), metric, facts)
    return found


def _distances(rows: np.ndarray) -> np.ndarray:
    squares = (rows**2).sum(1)
    return np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0.0)


def _kernel_scores(
    kernel: np.ndarray, folds: list[Fold], metric: Metric, facts: TargetFacts,
    ridges: tuple[float, ...],
) -> list[tuple[float, float]]:  # fmt: skip
    """Kernel ridge for each penalty; for penalty 0 the mean of the nearest neighbours."""
    each: list[list[np.ndarray]] = [[] for _ in ridges]
    spread = []
    for rows, goal, scored, real in folds:
        spread.append(((real - real.mean(0)) ** 2).mean(1))
        across, mean = kernel[np.ix_(scored, rows)], goal.mean(0)
        if ridges == (0.0,):
            near = np.argpartition(-across, min(5, len(rows) - 1), axis=1)[:, :5]
            each[0].append(_each(goal[near].mean(1), real, facts))
            continue
        inner = kernel[np.ix_(rows, rows)]
        size = max(float(np.trace(inner)) / len(rows), 1e-12)
        for i, ridge in enumerate(ridges):
            penalty = ridge * size * np.eye(len(rows))
            weights = np.linalg.solve(inner + penalty, goal - mean)
            each[i].append(_each(across @ weights + mean, real, facts))
    whole = np.concatenate(spread)
    return [_summed(np.concatenate(e), whole, metric) for e in each]


def _linear(rows: np.ndarray, folds: list[Fold], metric: Metric, facts: TargetFacts) -> Scored:
    """Ridge on the features themselves, the best of RIDGES."""
    each: list[list[np.ndarray]] = [[] for _ in RIDGES]
    spread = []
    for fit, goal, scored, real in folds:
        spread.append(((real - real.mean(0)) ** 2).mean(1))
        centre, mean = rows[fit].mean(0), goal.mean(0)
        x = rows[fit] - centre
        inner, outer = x.T @ x, x.T @ (goal - mean)
        size = max(float(np.trace(inner)) / max(1, len(inner)), 1e-12)
        for i, ridge in enumerate(RIDGES):
            weights = np.linalg.solve(inner + ridge * size * np.eye(len(inner)), outer)
            each[i].append(_each((rows[scored] - centre) @ weights + mean, real, facts))
    whole = np.concatenate(spread)
    return max(_summed(np.concatenate(e), whole, metric) for e in each)


def _trees(
    raw: np.ndarray, folds: list[Fold], facts: TargetFacts
) -> Callable[[np.ndarray, np.ndarray, Any], np.ndarray]:  # fmt: skip
    """Extremely randomised trees; `predict` is called once a fold, in order."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    waiting = [scored for _, _, scored, _ in folds]

    def predict(rows: np.ndarray, goal: np.ndarray, count: int) -> np.ndarray:
        scored = waiting.pop(0)
        if facts.task == "regression":
            model = ExtraTreesRegressor(NUM_TREES, random_state=0).fit(raw[rows], goal.squeeze())
            return np.asarray(model.predict(raw[scored])).reshape(count, -1)
        model = ExtraTreesClassifier(NUM_TREES, random_state=0).fit(raw[rows], goal.argmax(1))
        guess = np.zeros((count, goal.shape[1]))
        guess[:, model.classes_] = model.predict_proba(raw[scored])
        return guess

    return predict


# --- the trained model ---------------------------------------------------------------------------


def final_score(model: nn.Module, data: Any, valid: Any, facts: Facts) -> ScoreFacts:
    """Scores of the trained model in eval mode, beside what `facts.score` knows already.

    Accuracy by the largest output; with one output by the threshold that head and criterion imply;
    all bits right for several labels; R2 (floored at -99) for numbers. Nothing of the model or of
    the random states changes.
    """
    assert facts.targets is not None
    model = unwrapped(model)
    device = sample_device(model)
    with same_random_states():
        subject = Subject(model)
        try:
            module = subject.restore().eval()
            train = sample_from(data, device=device)
            held = sample_from(valid, device=device) if valid is not None else None
            known = facts.score or reference_facts(train, held, facts.targets)
            own, recalls = model_score(module, train, facts)
            other = None
            if held is not None:
                other, recalls = model_score(module, held, facts)
        finally:
            subject.restore()
    return ScoreFacts(
        metric=known.metric, constant=known.constant, linear=known.linear,
        reference=known.reference, reference_name=known.reference_name,
        reference_sd=known.reference_sd, train=own, valid=other, recalls=recalls,
        num_train=train.num_rows, num_valid=held.num_rows if held is not None else 0,
    )  # fmt: skip


@torch.no_grad()
def model_score(
    module: nn.Module, sample: Sample, facts: Facts
) -> tuple[float | None, tuple[float, ...]]:  # fmt: skip
    """(accuracy or R2, recalls by class) of a module as it is."""
    assert facts.targets is not None
    parts = []
    for rows in np.array_split(np.arange(sample.num_rows), max(1, sample.num_rows // 256)):
        parts.append(first_tensor(sample.pick(rows).run(module)))
    outputs = torch.nan_to_num(torch.cat([p for p in parts if p is not None]).double().cpu(),
                               posinf=0.0, neginf=0.0)  # fmt: skip
    targets = sample.targets.detach().cpu()
    task, kind = facts.targets.task, facts.targets.kind
    if task == "regression":
        if outputs.numel() != targets.numel():
            return None, ()
        goal = targets.double()
        error = float(((outputs.reshape(goal.shape) - goal) ** 2).mean())
        return max(-99.0, 1 - error / (float(goal.var(unbiased=False)) + 1e-12)), ()
    if task == "multilabel" or (kind in ("zero_one", "plus_minus_one")
                                and outputs.numel() == targets.numel()):  # fmt: skip
        said = (outputs > threshold(facts)).reshape(len(outputs), -1)
        right = said == (targets > 0.5).reshape(len(targets), -1)
        score = float(right.all(1).double().mean())
        if task == "multilabel":
            return score, ()
        return score, _recalls(said[:, 0].long(), (targets > 0.5).reshape(-1).long(), 2)
    axis = class_axis(tuple(outputs.shape), targets)
    if axis is None:
        return None, ()
    said = outputs.argmax(axis)
    real = targets.argmax(axis) if kind == "one_hot" else targets.reshape(said.shape)
    known = real >= 0
    return float((said == real)[known].double().mean()), _recalls(
        said[known], real[known].long(), min(facts.targets.num_classes, 1000))  # fmt: skip


def threshold(facts: Facts) -> float:
    """Where one output changes sides: 0 for logits and margins, 1/2 for probabilities."""
    head, loss, targets = facts.head, facts.loss, facts.targets
    if head is not None and head.kind in ("sigmoid", "softmax", "constant"):
        return 0.5
    if targets is not None and targets.kind == "plus_minus_one":
        return 0.0
    if loss is not None and loss.expects in ("logits", "margins"):
        return 0.0
    return 0.5


def _recalls(said: Tensor, real: Tensor, num_classes: int) -> tuple[float, ...]:
    """Share of each class that was recognised; NaN for classes that do not occur."""
    found = []
    for number in range(num_classes):
        of_class = real == number
        found.append(float((said[of_class] == number).double().mean()) if bool(of_class.any())
                     else float("nan"))  # fmt: skip
    return tuple(found)
