"""What is wrong with the loop around the optimiser? Signs, the order of calls, clipping and
schedule: mostly read directly on sampled steps."""

import numpy as np

from trainwright.core.diagnosis import Finding
from trainwright.diagnose.algorithm import is_adaptive
from trainwright.diagnose.case import CannotTell, Case
from trainwright.diagnose.found import by_harm, found, seen


def gradients_accumulate(case: Case) -> Finding | CannotTell | None:
    """A406: gradients of earlier steps are never cleared.

    Looks like: gradients are not zero before the step's first backward; their norm grows like a
        sum, each like the one before.
    Why it harms: the step follows the sum of all past gradients: the loss swings and drifts.
    Look-alikes: accumulation over micro-batches on purpose (cleared after each step).
    Exams: zero_grad_probe.
    Remedies: zero_grad.
    Source: [measured: read before the first backward of a sampled step].
    """
    stale = case.history.step("stale_gradient")
    if stale is None or not np.isfinite(stale).any():
        return CannotTell(missing="stale_gradient") if case.trained else None
    share = float(np.nanmean(stale[1:])) if len(stale) > 1 else 0.0
    if len(stale) < 3 or share < 0.9:
        return None
    return found("A406", by_harm(case, sure=0.97, unknown=0.93, spared=0.6),
                 seen("stale_gradient", share, 0.9, "read directly"), since=2,
                 remedies=["zero_grad"])  # fmt: skip


def uphill(case: Case) -> Finding | CannotTell | None:
    """A407: steps go up the gradient.

    Looks like: updates point along the gradient; the loss rises from the first step on.
    Why it harms: the loss is made as large as possible.
    Look-alikes: a rate too high (updates still point down).
    Exams: tiny_step.
    Remedies: fix_sign.
    Source: [measured: cosine of the true update and minus the gradient].
    """
    optimizer = case.facts.optimizer
    if optimizer is not None and optimizer.maximize:
        return found("A407", by_harm(case, sure=0.97, unknown=0.9, spared=0.5),
                     seen("optimizer.maximize", "yes", "no", "the optimiser"),
                     remedies=["fix_sign"])  # fmt: skip
    along = case.history.step("update_along_gradient")
    if along is None or not np.isfinite(along).any():
        return CannotTell(missing="update_along_gradient") if case.trained else None
    middle = float(np.nanmedian(along[:20]))
    if middle > -0.1 or not len(along) > 2:
        return None
    return found("A407", 0.95, seen("update_along_gradient", middle, 0.0, "a descent step is > 0"),
                 since=1, remedies=["fix_sign"])  # fmt: skip


def schedule_wrong(case: Case) -> Finding | CannotTell | None:
    """A409: the rate is next to zero for most of the run.

    Looks like: a warm-up longer than the run, a decay that is over before the loss is down.
    Why it harms: steps without a rate are steps without effect.
    Look-alikes: the tail of a cosine.
    Exams: schedule_arm.
    Remedies: decay_learning_rate, warm_up.
    Source: [assumed] thresholds.
    """
    steps, rate = _rates(case)
    if len(rate) < 2 or case.history.num_steps < 30:
        return None
    peak = float(np.nanmax(rate))
    if not peak > 0:
        return found("A409", 0.95, seen("learning_rate", 0.0, "> 0", "the optimiser"), since=1,
                     remedies=["raise_learning_rate"])  # fmt: skip
    spans = np.diff(np.append(steps, case.history.num_steps + 1.0))
    idle = float(np.sum(spans[rate < 0.02 * peak]) / np.sum(spans))
    rising = bool(np.all(np.diff(rate) >= 0)) and rate[-1] > 3 * rate[len(rate) // 2]
    tiny = rising and peak < 1e-5
    if idle < 0.5 and not tiny and not (rising and rate[0] < 0.1 * peak):
        return None
    return found("A409", by_harm(case, sure=0.88, unknown=0.6, spared=0.15),
                 seen("learning_rate.idle", idle, 0.5, "[assumed]"), since=1,
                 remedies=["decay_learning_rate", "warm_up"], share=idle)  # fmt: skip


def _rates(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """(steps, rates): from each of these steps on, this rate; of every change where the optimiser
    was followed, else as sampled steps saw it."""
    told, sampled = case.history.train.get("learning_rate"), case.history.step("learning_rate")
    if told is not None:
        return told.steps.astype(float), told.values
    if sampled is None:
        return np.zeros(0), np.zeros(0)
    return case.history.steps.astype(float), sampled


def clipping_wrong(case: Case) -> Finding | CannotTell | None:
    """A410: gradients are clipped at nearly every step.

    Looks like: the norm that the optimiser gets is the threshold, whatever backward gave.
    Why it harms: the rate is then the threshold's, and it may be far too small.
    Look-alikes: normalised gradient descent on purpose.
    Exams: threshold_sweep.
    Remedies: clip_gradient_norm, lower_learning_rate.
    Source: lecture; [assumed] half of the steps.
    """
    ratio = case.history.step("clip_ratio")
    known = ratio[np.isfinite(ratio)] if ratio is not None else np.zeros(0)
    if len(known) < 5:
        return None
    share, middle = float(np.mean(known < 0.95)), float(np.median(known))
    if share < 0.5 or middle > 0.1:
        return None
    optimizer = case.facts.optimizer
    forgiving = optimizer is not None and is_adaptive(optimizer)  # they divide the scale out again
    sure = 0.7 if forgiving and middle > 1e-4 else 0.9
    return found("A410", by_harm(case, sure=sure, unknown=0.55, spared=0.2),
                 seen("clip_ratio", middle, 0.1, "[assumed]"),
                 seen("clip_share", share, 0.5, "[assumed]"), kind="always", since=1,
                 remedies=["clip_gradient_norm"], share=share)  # fmt: skip


def step_order_wrong(case: Case) -> Finding | CannotTell | None:
    """A411: the loop calls backward, step and zero_grad in the wrong order.

    Looks like: backward runs, yet the optimiser finds no gradient, or that of the batch before.
    Why it harms: nothing is learned, or from the wrong batch.
    Look-alikes: frozen parameters.
    Exams: hook_order.
    Remedies: reorder_steps.
    Source: [measured: read at the optimiser's step].
    """
    update = case.history.layer("update_norm")
    if update is None or len(update) < 3:
        return CannotTell(missing="update_norm") if case.trained else None
    gradient = case.history.step("gradient_norm_all")  # missing: the optimiser never got one
    gradient = np.zeros(len(update)) if gradient is None else gradient
    model = case.facts.model
    # The probe before the first step saw a gradient, so that a flat loss is not the reason.
    reached = model is not None and any((x.weight_gradient_norm or 0.0) > 0 for x in model.layers)
    empty = np.nan_to_num(gradient[1:], nan=0.0) == 0.0
    if bool(empty.all()) and reached and _loss_varies(case):
        return found("A411", 0.9, seen("gradient_norm_all", 0.0, "> 0", "read at the step"),
                     since=1, remedies=["reorder_steps"])  # fmt: skip
    return None


def _loss_varies(case: Case) -> bool:
    return len(case.curve.values) > 2


def nothing_steps(case: Case) -> Finding | CannotTell | None:
    """A414: the weights do not change.

    Looks like: gradients are there, and the weights are bit-equal after the step; or no step is
        ever called.
    Why it harms: nothing is learned.
    Look-alikes: frozen by design.
    Exams: one_step.
    Remedies: call_step.
    Source: [measured: compared bit by bit].
    """
    update, gradient = case.history.layer("update_norm"), case.history.step("gradient_norm_all")
    if "optimizer_step" in case.history.unseen:
        return found("A414", 0.9, seen("num_steps", 0, "> 0", "counted"), kind="never_called",
                     since=1, remedies=["call_step"])  # fmt: skip
    if update is None or gradient is None or len(update) < 3:
        return None
    moved, alive = np.nan_to_num(update) > 0, np.nan_to_num(gradient) > 0
    if moved.any() or not alive.any():
        return None
    return found("A414", 0.93, seen("update_norm", 0.0, "> 0", "compared bit by bit"), since=1,
                 remedies=["call_step"])  # fmt: skip
