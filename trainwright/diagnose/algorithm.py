"""What is wrong with the learning algorithm? Rate, batch, schedule and the order of the loop's
calls, decided from the first steps where later ones are blurred by consequences."""

import numpy as np

from trainwright.core.diagnosis import Evidence, Finding
from trainwright.core.facts import OptimizerFacts
from trainwright.diagnose.case import SOLVED, CannotTell, Case, first_step_above, medians
from trainwright.diagnose.found import by_harm, found, seen

ADAPTIVE = (
    "adam",
    "adamw",
    "nadam",
    "radam",
    "rmsprop",
    "adagrad",
    "adamax",
    "adadelta",
    "amsgrad",
)
LARGE_UPDATE = 0.1  # update norm over weight norm: a layer rewritten in ten steps; sound is 1e-3
# [source: CS231n, neural-networks-3]
SMALL_UPDATE = (
    3e-4  # 3,000 steps to move a layer by its own size [source: the same; assumed factor]
)
USUAL_ADAPTIVE = 0.02  # above this, rates of Adam and its kin are rare [paper: Kingma 2015: 1e-3]
USUAL_PLAIN = 0.6  # above this, rates of SGD are rare without norm layers [paper: Bengio 2012]
HARDLY_BEGUN = 50  # steps in which no network learns much [assumed]
FEW_STEPS = 200  # a run shorter than this has hardly begun [assumed]
FITTED = 0.03  # share of what can be had that the training examples still lack [assumed]
NOISY = 20.0  # gradient noise scale over batch size [paper: McCandlish 2018: they should be near]


def is_adaptive(optimizer: OptimizerFacts) -> bool:
    """Does it divide by the gradient's size?"""
    return optimizer.name.lower() in ADAPTIVE


def unusual_rate(case: Case) -> float | None:
    """The learning rate over the largest usual one of its kind of optimiser."""
    optimizer = case.facts.optimizer
    if optimizer is None or optimizer.name.lower() in ("adadelta", "adagrad", "lbfgs", "rprop"):
        return None
    usual = USUAL_ADAPTIVE if is_adaptive(optimizer) else USUAL_PLAIN
    usual *= 1 - min(0.99, optimizer.momentum or 0.0) if not is_adaptive(optimizer) else 1.0
    return optimizer.learning_rate / usual


def learning_rate_too_high(case: Case) -> Finding | CannotTell | None:
    """A401: single steps rewrite whole layers, so the loss jumps about, dies or diverges.

    Looks like: update ratio far above 1e-3 in the first steps, the loss above where it began;
        later units are dead, heads saturated, and the loss sits where a constant would.
    Why it harms: a gradient step trusts a local model; far from the weights it is wrong.
    Look-alikes: unscaled inputs (D101) or targets (D103), a bad start (M206): they inflate the
        gradient at a sound rate; one bad batch (D111) does it once.
    Exams: rate_tenth, range_test, prodigy_arm.
    Remedies: lower_learning_rate, warm_up, clip_gradient_norm.
    Source: lecture; CS231n, "Ratio of weights:updates"; Cohen et al. 2021.
    """
    if not case.trained:
        rate = unusual_rate(case)
        if rate is not None and rate > 10:
            return _too_high(case, 0.6, [seen("learning_rate", _rate(case), "usual", "[paper]",
                                              step=0)])  # fmt: skip
        return None
    ratio = case.update_ratio
    if ratio is None or not len(ratio):
        return CannotTell(missing="update_ratio")
    evidence: list[Evidence] = []
    points = 0.0
    opening = ratio[case.opening]
    # Biases and norms start near zero; the median layer tells of the network.
    levels = np.where(case.steady, medians(opening), np.nan)
    level = float(np.nanmax(levels)) if np.isfinite(levels).any() else 0.0
    if level > LARGE_UPDATE:
        step = first_step_above(case.history, np.where(case.steady, ratio, np.nan), LARGE_UPDATE)
        points += 0.3 + 0.2 * (level > 5 * LARGE_UPDATE)
        where = case.history.layers[int(np.nanargmax(levels))]
        evidence.append(seen("update_ratio", level, LARGE_UPDATE, "[source: CS231n]", where=where,
                             step=step))  # fmt: skip
    rise, at = _rise(case)
    if rise > 1.0:
        points += 0.35
        evidence.append(seen("loss.rise", rise, 1.0, "[assumed] of the loss to gain", step=at))
    if case.history.first_nonfinite is not None:
        points += 0.35
        evidence.append(seen("loss", "nan", "finite", step=case.history.first_nonfinite))
    elif case.diverged:
        points += 0.3
    unusual = unusual_rate(case)
    if unusual is not None and unusual > 1:
        points += min(0.35, 0.2 + 0.15 * np.log10(unusual))
        evidence.append(seen("learning_rate", _rate(case), _rate(case) / unusual, "[paper]"))
    jumpy = _jumpiness(case)
    if jumpy > 0.5:
        points += 0.25
        evidence.append(seen("loss.jumps", jumpy, 0.5, "[assumed]"))
    plain = level > LARGE_UPDATE or case.diverged or (unusual is not None and unusual > 1)
    if not plain or points < 0.4 or (case.lost is not None and case.lost < 0.05):
        return None
    sure = min(0.97, 0.2 + points)
    return _too_high(case, by_harm(case, sure=sure, unknown=sure), evidence)


def _too_high(case: Case, confidence: float, evidence: list[Evidence]) -> Finding:
    where = [e.where for e in evidence if e.where]
    since = min((e.step for e in evidence if e.step is not None), default=1)
    return found("A401", confidence, *evidence, since=since, rate=_rate(case), where=where,
                 remedies=["lower_learning_rate", "warm_up", "clip_gradient_norm"])  # fmt: skip


def _rate(case: Case) -> float:
    optimizer = case.facts.optimizer
    return optimizer.learning_rate if optimizer is not None else float("nan")


def _rise(case: Case) -> tuple[float, int | None]:
    """How far the loss rose above its start within the first 100 steps, in units of what there is
    to gain, and when."""
    curve, first = case.curve, case.first_loss
    early = curve.steps <= 100
    if first is None or early.sum() < 3:
        return 0.0, None
    unit = max(case.room or 0.0, 0.3 * abs(first), 1e-12)
    values = curve.values[early]
    # The third highest: one odd batch is not a rise.
    order = np.argsort(values)[::-1]
    pick = int(order[min(2, len(order) - 1)])
    return float((values[pick] - first) / unit), int(curve.steps[early][order[0]])


def _jumpiness(case: Case) -> float:
    """Median jump between neighbouring losses in the second half, over the loss to gain."""
    values = case.late(0.5).values
    if len(values) < 20 or case.room is None:
        return 0.0
    return float(np.median(np.abs(np.diff(values))) / case.room)


def learning_rate_too_low(case: Case) -> Finding | CannotTell | None:
    """A402: steps so small that the run ends before the network has learned.

    Looks like: a smooth, steady slope; updates below 3e-4 of the weights; successive gradients
        that point the same way.
    Why it harms: time and money; the run is stopped long before it is done.
    Look-alikes: a network nearly converged, frozen layers, a vanishing gradient.
    Exams: rate_times_ten, prodigy_arm.
    Remedies: raise_learning_rate, train_longer.
    Source: lecture; CS231n, "Ratio of weights:updates"; [assumed] thresholds.
    """
    if not case.trained:
        return None
    ratio = case.update_ratio
    if ratio is None or not len(ratio):
        return CannotTell(missing="update_ratio")
    if case.solved or case.diverged or _unfinished(case) is False:
        return None
    levels = medians(ratio[len(ratio) // 3 :])
    level = float(np.nanmax(levels)) if np.isfinite(levels).any() else np.nan
    evidence: list[Evidence] = []
    points = 0.0
    if np.isfinite(level) and level < 10 * SMALL_UPDATE:
        points += 0.45 if level < SMALL_UPDATE else 0.25
        evidence.append(seen("update_ratio", level, SMALL_UPDATE, "[source: CS231n]"))
    cosine = _late_cosine(case)
    if cosine is not None and cosine > 0.8:
        points += 0.3
        evidence.append(seen("gradient_cosine", cosine, 0.8, "[assumed]"))
    unusual = unusual_rate(case)
    if unusual is not None and unusual < 2e-2:
        points += min(0.3, 0.1 * np.log10(2e-2 / unusual) + 0.15)
        evidence.append(seen("learning_rate", _rate(case), _rate(case) / unusual, "[paper]"))
    points += 0.15 * _smooth(case) + 0.15 * _steepness(case)
    if points < 0.3 or not evidence:
        return None
    return found("A402", by_harm(case, sure=min(0.95, 0.25 + points), unknown=min(0.7, points),
                                 spared=0.1), *evidence, since=1, rate=_rate(case),
                 remedies=["raise_learning_rate", "train_longer"])  # fmt: skip


def _unfinished(case: Case) -> bool | None:
    """Is there still much to gain: falling, or never moved?"""
    if case.improving:
        return True
    still = case.progress is not None and -0.3 < case.progress < 0.1  # one batch is noisy
    return True if still else case.improving


def _steepness(case: Case) -> float:
    """How much of the remaining loss the last third has taken, as a share of a half, 0..1."""
    change = case.slope[0] if case.slope is not None else 0.0
    return float(np.clip(-2 * change, 0.0, 1.0)) if case.improving else 0.0


def _late_cosine(case: Case) -> float | None:
    values = case.history.layer("gradient_cosine")
    if values is None or not np.isfinite(values).any():
        return None
    known = values[np.isfinite(values).any(axis=1)]
    return float(np.nanmedian(known[len(known) // 2 :]))


def _smooth(case: Case) -> bool:
    """The loss falls with hardly a step up."""
    values, steps = case.curve.values, case.curve.steps
    if len(values) < 10:
        return False
    per_step = abs(float(values[-1] - values[0])) / (steps[-1] - steps[0])
    jumps = np.abs(np.diff(values)) / np.diff(steps)
    return per_step > 0 and float(np.median(jumps)) < 3 * per_step


def stopped_too_early(case: Case) -> Finding | CannotTell | None:
    """A403: the run ended while the loss was still falling.

    Looks like: a significant slope in the last third, the best validation at the last step.
    Why it harms: what was paid for was not collected.
    Look-alikes: noise; a rate too low (then the steps are small).
    Exams: continue_run.
    Remedies: train_longer.
    Source: [assumed] 2 % of the remaining loss in the last third, three standard errors.
    """
    if not case.trained:
        return None
    few = case.history.num_steps < FEW_STEPS
    if case.improving is None and not few:
        return CannotTell(missing="loss.slope")
    hardly = case.history.num_steps < HARDLY_BEGUN
    falling = case.improving or (few and (case.progress or 0.0) > 0.02) or hardly
    high = case.achieved is not None and case.achieved >= SOLVED
    if not falling or case.solved or high or case.diverged:
        return None
    change = case.slope[0] if case.slope is not None else float("nan")
    evidence = [seen("loss.slope", change, -0.02, "[assumed]")]
    if few:
        evidence.append(seen("num_steps", case.history.num_steps, FEW_STEPS, "[assumed]"))
    epochs = case.history.num_steps / max(1, case.facts.steps_per_epoch or 1)
    steep = _steepness(case)
    sure = 0.8 + 0.15 * steep if few or epochs <= 5 else 0.65 + 0.3 * steep
    if case.unfitted is not None and case.unfitted < FITTED:
        sure = 0.45  # what is lost is lost on new examples: more steps are no remedy for that
    return found("A403", by_harm(case, sure=sure, unknown=0.5, spared=0.2), *evidence,
                 since=case.history.num_steps, remedies=["train_longer"],
                 steps=case.history.num_steps)  # fmt: skip


def batch_too_small(case: Case) -> Finding | CannotTell | None:
    """A404: gradients so noisy that steps undo each other (震盪).

    Looks like: the gradient noise scale is many times the batch size; the loss goes up and down
        by as much as it gains.
    Why it harms: most of each step is noise; norm layers get no statistics.
    Look-alikes: a rate too high.
    Exams: batch_times_four.
    Remedies: larger_batch, accumulate, lower_learning_rate.
    Source: lecture; McCandlish et al. 2018, eq. 2.9; [assumed] factor 20.
    """
    batch, inputs = case.facts.batch_size, case.facts.inputs
    if batch is None or not case.trained:
        return None
    enough = inputs is None or inputs.num_examples >= 64
    if batch > 8 or not enough or (case.lost is not None and case.lost < 0.05):
        return None
    scale = case.history.step("noise_scale")
    known = scale[np.isfinite(scale)] if scale is not None else np.zeros(0)
    noisy = float(np.median(known[-10:])) / batch if len(known) else None
    jumpy = _jumpiness(case)
    if batch > 2 and (noisy is None or noisy < NOISY) and jumpy < 0.3:
        return None
    evidence = [seen("batch_size", batch, 8, "[assumed]"), seen("loss.jumps", jumpy, 0.3)]
    if noisy is not None:
        evidence.insert(0, seen("noise_scale", noisy, NOISY, "[paper: McCandlish 2018]"))
    sure, spared = (0.85, 0.3) if batch <= 2 else (0.7, 0.1)
    return found("A404", by_harm(case, sure=sure, unknown=0.4, spared=spared), *evidence, since=1,
                 remedies=["larger_batch", "accumulate", "lower_learning_rate"], batch=batch
                 )  # fmt: skip


def batch_too_large(case: Case) -> Finding | CannotTell | None:
    """A405: so many examples a step that too few steps are left (耗費).

    Looks like: batches of a large part of the data, few updates, successive gradients alike.
    Why it harms: beyond the noise scale a larger batch hardly betters the step.
    Look-alikes: a rate too low.
    Exams: batch_quarter.
    Remedies: smaller_batch, raise_learning_rate, train_longer.
    Source: lecture; McCandlish et al. 2018; [assumed] thresholds.
    """
    batch, inputs = case.facts.batch_size, case.facts.inputs
    if batch is None or inputs is None or not case.trained:
        return None
    per_epoch = case.facts.steps_per_epoch or max(1, inputs.num_examples // max(1, batch))
    few = case.history.num_steps < FEW_STEPS and per_epoch <= 4 and inputs.num_examples >= 200
    cosine = _late_cosine(case)
    if not few or not _unfinished(case) or (cosine is not None and cosine < 0.3):
        return None
    return found("A405", by_harm(case, sure=0.7, unknown=0.4, spared=0.1),
                 seen("steps_per_epoch", per_epoch, 4, "[assumed]"),
                 seen("num_steps", case.history.num_steps, FEW_STEPS, "[assumed]"), since=1,
                 remedies=["smaller_batch", "train_longer"], batch=batch)  # fmt: skip


def optimizer_unsuited(case: Case) -> Finding | CannotTell | None:
    """A408: the optimiser does not suit, or one of its numbers is set wrongly.

    Looks like: an eps that is larger than the gradients or below what float32 holds beside them;
        plain SGD that crawls where layers' gradients differ by orders of magnitude.
    Why it harms: a large eps turns Adam into slow SGD, a tiny one lets single steps explode.
    Look-alikes: a rate too low or too high.
    Exams: adamw_arm, prodigy_arm.
    Remedies: swap_optimizer, set_eps.
    Source: Kingma and Ba 2015, algorithm 1 (eps 1e-8); [assumed] bounds.
    """
    optimizer = case.facts.optimizer
    if optimizer is None:
        return CannotTell(missing="optimizer")
    eps, betas = optimizer.eps, optimizer.betas
    if eps is not None and is_adaptive(optimizer) and not 1e-12 < eps < 1e-3:
        below = eps <= 1e-12  # vanishes beside any gradient in float32: never meant so
        return found("A408", by_harm(case, sure=0.85, unknown=0.6, spared=0.55 if below else 0.25),
                     seen("optimizer.eps", eps, "1e-12 … 1e-3", "[assumed]"), kind="eps",
                     remedies=["set_eps"], eps=eps)  # fmt: skip
    memory = max(optimizer.momentum or 0.0, betas[0] if betas is not None else 0.0)
    if memory > 0.99 or (betas is not None and betas[1] > 0.99999):
        return found("A408", by_harm(case, sure=0.85, unknown=0.5, spared=0.2),
                     seen("optimizer.betas", memory, 0.99, "[assumed] 100 steps of memory"),
                     kind="betas", remedies=["set_eps"])  # fmt: skip
    plain = optimizer.name.lower() in ("sgd", "adadelta") and not optimizer.momentum
    slow = case.trained and not case.diverged and _unfinished(case) is True
    if not plain or not slow or (case.lost is not None and case.lost < 0.1):
        return None
    spread = _gradient_spread(case)
    evidence = [seen("optimizer.name", optimizer.name, "adam", "[assumed]")]
    if spread is not None:
        evidence.append(seen("gradient_norm.spread", spread, 1e3, "[assumed]"))
    wide = spread is not None and spread > 1e3
    return found("A408", by_harm(case, sure=0.75 if wide else 0.6, unknown=0.3, spared=0.1),
                 *evidence, kind="plain_sgd", since=1, remedies=["swap_optimizer"])  # fmt: skip


def _gradient_spread(case: Case) -> float | None:
    """Largest over smallest gradient norm of layers, relative to their weights."""
    gradient, weight = case.last_of("gradient_norm"), case.last_of("weight_norm")
    if gradient is None or weight is None:
        return None
    ratio = (gradient / np.maximum(weight, 1e-12))[(gradient > 0) & (weight > 0)]
    return float(ratio.max() / ratio.min()) if len(ratio) >= 2 else None
