"""How good can answers be? Quick learners say what can be had from these inputs."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits
from torch import Tensor

from trainwright.check.data import flat, input_kind, labels
from trainwright.check.sample import Sample
from trainwright.core.facts import ScoreFacts, TargetFacts

MOST_ROWS = 1000  # a kernel matrix of these is solved in 0.05 s
FEWEST_ROWS = 20  # below, cross-validation says nothing
MOST_FEATURES = 200
NUM_FOLDS = 3
NUM_TREES = 50
GAMMAS = (1.0, 0.1, 10.0)  # times 1 / num_features, of standardised features
RIDGES = (1e-3, 1e-1)  # times the number of rows' scale
TREES_AT = 2.0  # seconds allowed, from which scikit-learn is loaded for trees
MOST_NUMBERS = 600  # an example's, that are looked at where it must be quick
SURE = 0.45  # mean lead of the first class over the second, in the surest half of predictions
# [measured: 14 data sets, 1000 rows: .44-.83 with 20-40 % wrong labels, .21-.40 where the classes
# of right labels are hard to tell (photos, tastes, parity)]
CLEAR = 0.1  # contradictions below which nobody else is asked: half of what a rule minds [assumed]
Metric = Literal["accuracy", "r2"]
Fold = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # fit rows, goal, score rows, goal


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What one learner reached: score, its standard error, predictions beside the targets."""

    score: float
    error: float
    guess: np.ndarray
    real: np.ndarray


Learner = Callable[[list[Fold]], Tried]


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
    # Small systems of equations: more threads than one only wait for each other.
    with threadpool_limits(limits=1, user_api="blas"):
        learners = _learners(_table(x, new), targets, seconds)
        found = _tried(learners, folds, targets, seconds)
        name = max(found, key=lambda n: found[n].score)
        out_of_fold = found[name] if held is None else learners[name](_folds(goal, None))
    return replace(
        blank, constant=constant, linear=found["linear"].score, reference_name=name,
        reference=max(found[name].score, constant), reference_sd=found[name].error,
        confident_error=_confident_error(out_of_fold, targets),
    )  # fmt: skip


def contradiction_facts(sample: Sample, targets: TargetFacts) -> ScoreFacts:
    """How often ridge contradicts labels that it did not see although it is sure, or, where that
    leaves a doubt, ridge and 5 nearest neighbours together: 5 to 50 ms for MOST_ROWS rows. What can
    be had is for slower learners to say, so that `reference` stays open; so does the error where
    these are not sure.
    """
    metric: Metric = "r2" if targets.task == "regression" else "accuracy"
    train = sample.rows(MOST_ROWS)
    goal = _goal(train.targets, targets)
    blank = ScoreFacts(metric=metric, constant=_majority(targets), num_train=sample.num_rows)
    if goal is None:
        return blank
    folds = _folds(goal, None)
    blank = replace(blank, constant=_constant(folds, targets))
    x = _features(train, most=MOST_NUMBERS)
    if len(goal) < FEWEST_ROWS or x is None:
        return blank
    with threadpool_limits(limits=1, user_api="blas"):
        scaled = _table(x, None)["scaled"]
        linear = judge = _linear(scaled, folds, targets)
        error = _sure_error(linear, targets)
        if (error is None or error > CLEAR) and _has_classes(linear, targets):
            judge = _together(linear, _neighbours(scaled, folds, targets), targets)
            error = _sure_error(judge, targets)
    return replace(blank, linear=linear.score, confident_error=error,
                   confident_score=None if error is None else judge.score)  # fmt: skip


def _together(one: Tried, other: Tried, facts: TargetFacts) -> Tried:
    """Two learners' mean prediction of the same examples."""
    guess = (one.guess + other.guess) / 2
    return replace(one, guess=guess, score=float(_each(guess, one.real, facts).mean()))


def _sure_error(tried: Tried, facts: TargetFacts) -> float | None:
    """The error of its surest half, if it is sure of it."""
    if not _has_classes(tried, facts) or _leads(tried)[_surest(tried)].mean() < SURE:
        return None
    return _confident_error(tried, facts)


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


def _tried_on(folds: list[Fold], guesses: list[np.ndarray], facts: TargetFacts) -> Tried:
    """The score over all folds, and its standard error."""
    guess, real = np.concatenate(guesses), np.concatenate([f[3] for f in folds])
    spread = np.concatenate([((f[3] - f[3].mean(0)) ** 2).mean(1) for f in folds])
    each = _each(guess, real, facts)
    score, error = float(each.mean()), float(each.std() / np.sqrt(max(1, len(each))))
    if facts.task == "regression":
        variance = float(spread.mean())
        known = variance > 1e-12 * max(1.0, float((real**2).mean()))
        score, error = (1 - score / variance, error / variance) if known else (0.0, 0.0)
    return Tried(score=score, error=error, guess=guess, real=real)


def _confident_error(tried: Tried, facts: TargetFacts) -> float | None:
    """How often the surer half of the predictions contradicts the label; classes only."""
    if not _has_classes(tried, facts):
        return None
    return float((tried.guess.argmax(1) != tried.real.argmax(1))[_surest(tried)].mean())


def _has_classes(tried: Tried, facts: TargetFacts) -> bool:
    return facts.task in ("multiclass", "binary") and tried.guess.shape[1] >= 2


def _leads(tried: Tried) -> np.ndarray:
    """[example]: by how much the first class leads the second."""
    two = np.sort(tried.guess, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]


def _surest(tried: Tried) -> np.ndarray:
    """The half of the examples with the largest leads."""
    leads = _leads(tried)
    return np.argsort(-leads)[: max(1, len(leads) // 2)]


# --- learners ------------------------------------------------------------------------------------


def _features(sample: Sample, most: int | None = None) -> np.ndarray | None:
    """[example, number]; tokens as counts of the commonest ones. Of more than `most` numbers in a
    tensor every so-many-th is taken: a coarser picture."""
    parts = []
    for x in sample.inputs:
        if not isinstance(x, Tensor):
            continue
        if input_kind(x) == "tokens" and x.ndim == 2 and int(x.max()) < 1_000_000:
            parts.append(_token_counts(x))
        else:
            step = 1 if most is None else max(1, math.ceil(x[0].numel() / most))
            parts.append(
                np.nan_to_num(flat(x.reshape(len(x), -1)[:, ::step]), posinf=0.0, neginf=0.0)
            )
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


def _learners(
    table: dict[str, np.ndarray], facts: TargetFacts, seconds: float
) -> dict[str, Learner]:  # fmt: skip
    """By name, cheap and likely ones first."""
    scaled = table["scaled"]
    found: dict[str, Learner] = {
        "linear": lambda folds: _linear(scaled, folds, facts),
        "neighbours": lambda folds: _neighbours(scaled, folds, facts),
    }
    for gamma in GAMMAS:
        for kind in ("scaled", "ranked")[: len(table) - 1]:
            found[f"gaussian {gamma:g} {kind}"] = lambda folds, g=gamma, k=kind: _kernel_ridge(
                np.exp(-g * _distances(table[k]) / max(1, table[k].shape[1])), folds, facts
            )
    found["quadratic"] = lambda folds: _kernel_ridge(
        (scaled @ scaled.T / max(1, scaled.shape[1]) + 1.0) ** 2, folds, facts
    )
    loaded = "sklearn.ensemble" in sys.modules or seconds >= TREES_AT
    if loaded and facts.task != "multilabel":
        found["trees"] = lambda folds: _trees(table["raw"], folds, facts)
    return found


def _tried(
    learners: dict[str, Learner], folds: list[Fold], facts: TargetFacts, seconds: float
) -> dict[str, Tried]:  # fmt: skip
    """What each reaches, until time is up or nothing can be won; trees are tried in any case."""
    began = time.perf_counter()
    found: dict[str, Tried] = {}
    for name, learner in learners.items():
        best = max((t.score for t in found.values()), default=-np.inf)
        late = time.perf_counter() - began > seconds and name != "trees"
        if best > 0.99 or (found and late):
            continue
        found[name] = learner(folds)
    return found


def _distances(rows: np.ndarray) -> np.ndarray:
    squares = (rows**2).sum(1)
    return np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0.0)


def _neighbours(rows: np.ndarray, folds: list[Fold], facts: TargetFacts) -> Tried:
    """The mean of the five nearest."""
    distance, guesses = _distances(rows), []
    for fit, goal, scored, _ in folds:
        across = distance[np.ix_(scored, fit)]
        near = np.argpartition(across, min(5, len(fit) - 1), axis=1)[:, :5]
        guesses.append(goal[near].mean(1))
    return _tried_on(folds, guesses, facts)


def _kernel_ridge(kernel: np.ndarray, folds: list[Fold], facts: TargetFacts) -> Tried:
    """Ridge in the kernel's space, the best of RIDGES."""
    guesses: list[list[np.ndarray]] = [[] for _ in RIDGES]
    for fit, goal, scored, _ in folds:
        inner, mean = kernel[np.ix_(fit, fit)], goal.mean(0)
        across = kernel[np.ix_(scored, fit)]
        size = max(float(np.trace(inner)) / len(fit), 1e-12)
        for i, ridge in enumerate(RIDGES):
            weights = np.linalg.solve(inner + ridge * size * np.eye(len(fit)), goal - mean)
            guesses[i].append(across @ weights + mean)
    return max((_tried_on(folds, g, facts) for g in guesses), key=lambda t: t.score)


def _linear(rows: np.ndarray, folds: list[Fold], facts: TargetFacts) -> Tried:
    """Ridge on the features themselves, the best of RIDGES."""
    guesses: list[list[np.ndarray]] = [[] for _ in RIDGES]
    for fit, goal, scored, _ in folds:
        centre, mean = rows[fit].mean(0), goal.mean(0)
        x = rows[fit] - centre
        inner, outer = x.T @ x, x.T @ (goal - mean)
        size = max(float(np.trace(inner)) / max(1, len(inner)), 1e-12)
        for i, ridge in enumerate(RIDGES):
            weights = np.linalg.solve(inner + ridge * size * np.eye(len(inner)), outer)
            guesses[i].append((rows[scored] - centre) @ weights + mean)
    return max((_tried_on(folds, g, facts) for g in guesses), key=lambda t: t.score)


def _trees(raw: np.ndarray, folds: list[Fold], facts: TargetFacts) -> Tried:
    """Extremely randomised trees."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    guesses = []
    for fit, goal, scored, _ in folds:
        if facts.task == "regression":
            model = ExtraTreesRegressor(NUM_TREES, random_state=0).fit(raw[fit], goal.squeeze())
            guesses.append(np.asarray(model.predict(raw[scored])).reshape(len(scored), -1))
            continue
        model = ExtraTreesClassifier(NUM_TREES, random_state=0).fit(raw[fit], goal.argmax(1))
        guess = np.zeros((len(scored), goal.shape[1]))
        guess[:, model.classes_] = model.predict_proba(raw[scored])
        guesses.append(guess)
    return _tried_on(folds, guesses, facts)
