"""What is wrong with the network's build? Structure, mode and size; `layers` looks at what the
signals do inside."""

from dataclasses import replace

import numpy as np

from trainwright.core.diagnosis import Evidence, Finding
from trainwright.core.facts import LayerFacts
from trainwright.diagnose.case import SOLVED, CannotTell, Case
from trainwright.diagnose.found import HARMLESS, by_harm, found, seen

NARROW = 4  # units of a hidden layer through which everything must go [assumed]
TURNED_UP = 1.2  # validation loss at the end over its lowest [assumed]
USEFUL = 0.5  # share of the steps before which the best weights show the rest in vain [assumed]
HEAVY_DROPOUT = 0.65  # share that is dropped; 0.5 is the usual most [paper: Srivastava 2014, 7.3]
DEEP = 10  # layers from which on a plain chain is hard to train [paper: He 2015, fig. 1]
SETTLED_AFTER = 100  # steps: with momentum 0.1 running statistics keep 3e-5 of their start
SCORE_IN_EVAL = 0.25  # accuracy or R2 that is lost by calling eval on the same rows [assumed]
WORSE_IN_EVAL = 0.3  # of the loss to gain, that is lost by calling eval on the same rows [assumed]
UNTRAINED_MENDS = {  # the likeliest cure first
    "unregistered": ("register_parameters",),
    "not_in_optimizer": ("register_parameters", "unfreeze"),
    "unreachable": ("reattach_gradient", "register_parameters"),
    "frozen": ("unfreeze", "register_parameters"),
}
FLOWS = 1e-6  # share of a gradient that may cross between examples by rounding [assumed]


def missing_nonlinearity(case: Case) -> Finding | CannotTell | None:
    """M201: layers of linear maps with nothing between them are one linear map.

    Looks like: the network equals its own linear collapse; it is as good as a linear model.
    Why it harms: depth without a non-linearity adds parameters and no function.
    Look-alikes: a bottleneck on purpose (low rank), weights so small that all is nearly linear.
    Exams: collapse_test, insert_nonlinearity_arm.
    Remedies: insert_nonlinearity.
    Source: lecture, "why activation"; f(ax + by) = a f(x) + b f(y) on random inputs.
    """
    model, score = case.facts.model, case.facts.score
    if model is None:
        return CannotTell(missing="model")
    weights = [layer for layer in model.layers if layer.kind in ("linear", "convolution")]
    if not model.linear_pairs or len(weights) < 2:
        return None
    pairs = seen("model.linear_pairs", len(model.linear_pairs), 0, "collapse test")
    everywhere = len(model.linear_pairs) >= len(weights) - 1
    where = [name for pair in model.linear_pairs for name in pair]
    enough = score is not None and score.linear is not None and score.reference is not None and (
        score.linear >= score.reference - max(0.005, score.reference_sd or 0.0)
    )  # fmt: skip
    reached = case.solved or (case.achieved is not None and case.achieved >= SOLVED)
    if not everywhere:
        # One pair alone is often a bottleneck (low rank) on purpose.
        return found("M201", by_harm(case, sure=0.48, unknown=0.4), pairs, kind="partly",
                     where=where, remedies=["insert_nonlinearity"])  # fmt: skip
    confidence = 0.9 if case.trained else 0.8
    if reached and enough:
        confidence = 0.25  # a linear task
    elif enough:
        confidence = 0.6
    return found("M201", confidence, pairs, kind="everywhere", where=where,
                 remedies=["insert_nonlinearity"])  # fmt: skip


def too_small(case: Case) -> Finding | CannotTell | None:
    """M207: the network cannot hold what there is to learn (underfitting).

    Looks like: the training score stops below what simple learners reach; gradients are healthy
        and the loss no longer falls.
    Why it harms: no rate and no patience mend it.
    Look-alikes: wrong labels (nobody does better), a rate too low (still falling).
    Exams: double_width, overfit_one_batch.
    Remedies: widen, deepen.
    Source: lecture, underfitting; [assumed] thresholds.
    """
    model, score = case.facts.model, case.facts.score
    if not case.trained:
        return None
    if model is None or score is None or score.train is None or score.reference is None:
        return CannotTell(missing="score.reference")
    short = score.reference - score.train
    widths = {layer.name: layer.units or layer.fan_out for layer in case.hidden
              if layer.kind in ("linear", "convolution", "recurrent")}  # fmt: skip
    if not widths or short < max(0.03, 2 * (score.reference_sd or 0.0)) or case.diverged:
        return None
    name, narrow = min(widths.items(), key=lambda item: item[1])
    targets = case.facts.targets
    needs = max(NARROW, targets.num_classes // 3 + 1) if targets is not None else NARROW
    confidence = by_harm(case, sure=0.8, unknown=0.4, spared=0.1)
    if narrow >= needs:
        per_output = model.num_parameters / max(1, score.num_train)
        if case.improving is not False or per_output > 1.0:
            return None
        confidence *= 0.6
    return found("M207", confidence, seen("layer.units", narrow, needs, "[assumed]", where=name),
                 seen("score.train", score.train, score.reference, "quick learners"),
                 since=1, where=[name], remedies=["widen", "deepen"], width=narrow)  # fmt: skip


def overfitting(case: Case) -> Finding | CannotTell | None:
    """M208: the network learns its training examples by heart (overfitting).

    Looks like: the validation loss turns up while the training loss goes on falling; simpler
        learners do better on new examples.
    Why it harms: the score that matters gets worse with every step.
    Look-alikes: a leak in the other direction, a validation split too small to tell; a run whose
        best weights were kept before it did harm (a note).
    Exams: half_width, dropout_arm, more_data.
    Remedies: keep_best_checkpoint, stop_early, add_dropout, mixup, add_weight_decay, add_l1,
        shrink, add_noise, add_data.
    Source: lecture, overfitting; [assumed] thresholds.
    """
    score, curve = case.facts.score, case.history.valid.get("loss")
    if not case.trained:
        return None
    if score is None or score.valid is None or score.train is None:
        return CannotTell(missing="score.valid")
    gap = score.train - score.valid
    short = (score.reference - score.valid) if score.reference is not None else None
    turned = 1.0
    since = 1
    if curve is not None and len(curve.values) >= 4 and np.isfinite(curve.values).all():
        low = int(np.argmin(curve.values))
        turned = float(np.median(curve.values[-2:]) / max(1e-12, curve.values[low]))
        since = int(curve.steps[low])
    noise = 2 * np.sqrt(0.25 / max(1, score.num_valid))
    by_heart = gap >= max(0.08, noise) and score.train >= 0.8
    fits = case.unfitted is None or case.unfitted < 0.1
    behind = by_heart and short is not None and short > max(0.02, noise) and fits
    turn = seen("valid.turned_up", turned, TURNED_UP, "[assumed]", step=since)
    best, steps = score.of_step or case.history.num_steps, case.history.num_steps
    harmless = not by_heart or (short is not None and not behind)
    if turned >= TURNED_UP and best < USEFUL * steps and harmless:
        note = found("M208", HARMLESS, turn, kind="kept_best", since=since, best=best, steps=steps,
                     remedies=["stop_early", "add_dropout", "shrink", "add_data"])  # fmt: skip
        return replace(note, note=True)
    if not by_heart or (turned < TURNED_UP and not behind):
        return None
    confidence = 0.75 + 0.2 * behind
    if turned < TURNED_UP:  # others do better on new examples: how much better decides
        confidence = by_harm(case, sure=0.8, unknown=0.6, spared=0.2)
    evidence = [seen("score.gap", gap, 0.08, "[assumed]")]
    if turned >= TURNED_UP:
        evidence.insert(0, turn)
    return found("M208", confidence, *evidence, since=since,
                 remedies=["keep_best_checkpoint", "add_dropout", "mixup", "add_weight_decay",
                           "add_l1", "shrink", "add_noise", "add_data"], gap=gap)  # fmt: skip


def over_regularised(case: Case) -> Finding | CannotTell | None:
    """M209: dropout or penalties keep the network from learning.

    Looks like: the training loss stays high while heavy dropout or a large penalty acts.
    Why it harms: the signal is drowned, or weights are pulled to zero faster than they can learn.
    Look-alikes: a network too small.
    Exams: penalty_off_arm.
    Remedies: weaken_dropout, weaken_penalty.
    Source: Srivastava et al. 2014, section 7.3 (keep between 0.5 and 0.8).
    """
    model, optimizer = case.facts.model, case.facts.optimizer
    if model is None:
        return CannotTell(missing="model")
    heavy = max(model.dropout, default=0.0)
    if heavy > HEAVY_DROPOUT:
        return found("M209", by_harm(case, sure=0.9, unknown=0.6, spared=0.3, fit=True),
                     seen("model.dropout", heavy, HEAVY_DROPOUT, "[paper: Srivastava 2014, 7.3]"),
                     kind="dropout", remedies=["weaken_dropout"], rate=heavy)  # fmt: skip
    decay = 0.0
    if optimizer is not None and optimizer.name.lower() not in ("adamw",):
        decay = optimizer.weight_decay
    elif optimizer is not None:
        decay = optimizer.weight_decay * optimizer.learning_rate * 10
    if decay > 0.02 and case.trained and not case.diverged:
        return found("M209", by_harm(case, sure=0.85, unknown=0.4, spared=0.2, fit=True),
                     seen("optimizer.weight_decay", optimizer.weight_decay if optimizer else 0.0,
                          0.02, "[assumed]"),
                     kind="penalty", remedies=["weaken_penalty"])  # fmt: skip
    several = [rate for rate in model.dropout if rate >= 0.5]
    if len(several) >= 3 and len(several) == len(model.dropout) and case.trained:
        return found("M209", by_harm(case, sure=0.75, unknown=0.4, spared=0.2, fit=True),
                     seen("model.dropouts", len(several), 3, "[assumed]"),
                     kind="dropout", remedies=["weaken_dropout"], rate=max(several))  # fmt: skip
    return None


def mode_mismatch(case: Case) -> Finding | CannotTell | None:
    """M210: norm or dropout layers work in the wrong mode.

    Looks like: training in eval mode; running statistics far from those of the batches; batch norm
        over batches of one or two.
    Why it harms: what is trained is not what is used.
    Look-alikes: a true shift between training and validation.
    Exams: eval_mode_probe.
    Remedies: call_train_eval, group_norm, layer_norm, larger_batch.
    Source: Ioffe and Szegedy 2015; Wu and He 2018, fig. 1.
    """
    model, mode = case.facts.model, case.history.step("train_mode")
    if model is None:
        return CannotTell(missing="model")
    matters = bool(model.dropout) or "batch" in model.normalisation
    if mode is not None and len(mode) >= 3 and matters and np.nanmean(mode) < 0.1:
        return found("M210", by_harm(case, sure=0.95, unknown=0.9, spared=0.75),
                     seen("train_mode", float(np.nanmean(mode)), 1.0, "counted"),
                     kind="always_eval", since=1, remedies=["call_train_eval"])  # fmt: skip
    told = [case.history.valid[n] for n in ("accuracy", "score") if n in case.history.valid]
    score = case.facts.score
    # Readings of the end say nothing about weights that were kept from before.
    at_end = score is None or (score.of_step or np.inf) > 0.9 * case.history.num_steps
    late = bool(told) and told[0].steps[-1] > 0.9 * case.history.num_steps and at_end
    if late and score is not None and score.valid is not None and matters:
        short = score.valid - float(np.max(told[0].values[-3:]))  # norm layers let it swing
        if score.metric == "accuracy" and 0.1 < short <= 1:
            return found("M210", 0.85, seen("score.told_gap", short, 0.1, "[assumed]"),
                         kind="always_train", since=1, remedies=["call_train_eval"])  # fmt: skip
    if "batch" not in model.normalisation:
        return None
    batch = case.facts.batch_size
    if batch is not None and batch <= 2:
        return found("M210", by_harm(case, sure=0.9, unknown=0.75, spared=0.4),
                     seen("batch_size", batch, 2, "[paper: Wu and He 2018, fig. 1]"),
                     kind="tiny_batch", remedies=["group_norm", "layer_norm", "larger_batch"]
                     )  # fmt: skip
    worse = _worse_in_eval(case) if at_end else None
    if worse is not None:
        return found("M210", by_harm(case, sure=0.93, unknown=0.8, spared=0.4), worse,
                     kind="stale_statistics", since=1,
                     remedies=["call_train_eval", "group_norm"])  # fmt: skip
    drift = case.last_of("norm_drift")
    worst = float(np.nanmax(drift)) if drift is not None and not np.isnan(drift).all() else 0.0
    # A channel that hardly varies drifts far and harmlessly; every channel does in the first steps.
    if case.lost_in_eval is None and max(case.history.steps, default=0) > SETTLED_AFTER and (
        worst > 2.0 and case.trained and case.history.num_steps > 300
    ):  # fmt: skip
        return found("M210", by_harm(case, sure=0.85, unknown=0.5, spared=0.25),
                     seen("norm_drift", worst, 2.0, "[assumed]"), kind="stale_statistics", since=1,
                     remedies=["call_train_eval", "group_norm"])  # fmt: skip
    return None


def _worse_in_eval(case: Case) -> Evidence | None:
    """The same weights on the same examples, in the other mode: what they lose by it."""
    score, fall = case.facts.score, case.lost_in_eval
    if fall is not None and fall > SCORE_IN_EVAL:
        return seen("score.mode_gap", fall, SCORE_IN_EVAL, "[assumed]")
    if score is None or score.train_loss is None or not case.room or not case.last_loss:
        return None
    rise = (score.train_loss - case.last_loss) / case.room
    if not np.isfinite(rise) or rise <= WORSE_IN_EVAL:
        return None
    return seen("score.loss_gap", rise, WORSE_IN_EVAL, "[assumed]")


def untrained_parameters(case: Case) -> Finding | CannotTell | None:
    """M211: parameters that never change.

    Looks like: an update of exactly zero; a layer that is not in the optimiser, is frozen, is kept
        in a list where the module does not see it, or lies off every path to the loss.
    Why it harms: a part of the network stays at its random start.
    Look-alikes: fine-tuning with lower layers frozen on purpose; zero-initialised branches at the
        first step.
    Exams: one_step.
    Remedies: register_parameters, unfreeze, reattach_gradient.
    Source: [measured: counted, and one step].
    """
    model, optimizer = case.facts.model, case.facts.optimizer
    if model is None:
        return CannotTell(missing="model")
    if model.unregistered:
        return _untrained(case, "unregistered", model.unregistered, 0.95, 0.6)
    if optimizer is not None and optimizer.missing:
        return _untrained(case, "not_in_optimizer", optimizer.missing, 0.95, 0.7)
    if model.gradient_missing:
        return _untrained(case, "unreachable", model.gradient_missing, 0.85, 0.3)
    if model.frozen:
        order = [layer.name for layer in model.layers]
        owners = {name.rpartition(".")[0] for name in model.frozen}
        frozen = [name in owners for name in order]
        prefix = frozen == sorted(frozen, reverse=True)  # lower layers, as in fine-tuning
        weights = [x for x in model.layers if x.name in owners and x.kind != "norm"]
        learned = not all(_looks_random(x) for x in weights)
        sure = 0.45 if prefix and learned else 0.85
        return _untrained(case, "frozen", model.frozen, sure, 0.15)
    return None


def _looks_random(layer: LayerFacts) -> bool:
    """The sd of the weights is that of a usual start, within what so many draws allow: torch's
    default (0.408 of He's), He's, or Xavier's; learned weights have another [assumed]."""
    if not layer.weight_sd or not layer.he_sd:
        return False
    xavier = np.sqrt(layer.fan_in / (layer.fan_in + layer.fan_out))
    ratio = layer.weight_sd / layer.he_sd
    count = layer.fan_in * (layer.units or layer.fan_out)
    allowed = 0.01 + 2.0 / np.sqrt(2.0 * max(1, count))
    return any(abs(ratio / usual - 1) < allowed for usual in (np.sqrt(1 / 6), 1.0, xavier))


def _untrained(
    case: Case, kind: str, names: tuple[str, ...], sure: float, spared: float
) -> Finding:
    return found("M211", by_harm(case, sure=sure, unknown=max(0.45, sure - 0.1), spared=spared),
                 seen("parameters.untrained", len(names), 0, "counted", where=names[0]),
                 kind=kind, where=names, remedies=UNTRAINED_MENDS[kind],
                 count=len(names))  # fmt: skip


def examples_mixed(case: Case) -> Finding | CannotTell | None:
    """M212: the answer for one example depends on the others in its batch.

    Looks like: a softmax over the batch axis, a reshape that mixes rows: the gradient of output i
        by input j is not zero.
    Why it harms: predictions change with their neighbours; training and use differ.
    Look-alikes: batch norm in training mode, contrastive losses.
    Exams: eval_mode_probe.
    Remedies: fix_axis.
    Source: [measured: autograd from one output to the other examples, in eval mode].
    """
    model, head = case.facts.model, case.facts.head
    if head is not None and head.sums_over == "batch":
        return found("M212", 0.97, seen("head.sums_over", "batch", "class", "row sums"),
                     kind="softmax_over_batch", remedies=["fix_axis"])  # fmt: skip
    if model is None or model.mixes_examples is None:
        return CannotTell(missing="model.mixes_examples")
    if model.mixes_examples <= FLOWS:
        return None
    return found("M212", 0.95, seen("model.mixes_examples", model.mixes_examples, 0, "autograd"),
                 kind="other", remedies=["fix_axis"], share=model.mixes_examples)  # fmt: skip


def sees_future(case: Case) -> Finding | CannotTell | None:
    """M213: a model that should predict the next step can look at it.

    Looks like: a training loss far too good; generation that babbles. The gradient of the output
        at time t by the input at a later time is not zero.
    Why it harms: copying the answer is easier than predicting it, and impossible in use.
    Look-alikes: tagging and encoding, where both sides may be seen.
    Exams: gradient_support.
    Remedies: mask_future.
    Source: autograd along time; Vaswani et al. 2017, section 3.2.3.
    """
    model = case.facts.model
    if model is None:
        return CannotTell(missing="model")
    if model.sees_future is None or model.sees_future <= FLOWS:
        return None
    return found("M213", 0.95, seen("model.sees_future", model.sees_future, 0, "autograd"),
                 remedies=["mask_future"], share=model.sees_future)  # fmt: skip


def needlessly_deep(case: Case) -> Finding | CannotTell | None:
    """M214: more layers than the task needs, or than a plain chain can train.

    Looks like: a long chain without skip connections or norm layers that stays near its start.
    Why it harms: the signal fades or bursts on the way (He et al. 2015: deeper and worse).
    Look-alikes: none of its own; what it does is M204, M205 or M202.
    Exams: half_depth, drop_block.
    Remedies: shrink, add_skip, add_norm.
    Source: He et al. 2015 (residual learning), figure 1.
    """
    model = case.facts.model
    if model is None:
        return CannotTell(missing="model")
    plain = len(case.hidden) >= DEEP and not model.normalisation
    if not plain or not case.trained:
        return None
    near_start = (case.lost or 0.0) > 0.5
    return found("M214", by_harm(case, sure=0.7 if near_start else 0.4, unknown=0.3, spared=0.1),
                 seen("model.layers", len(case.hidden) + 1, DEEP, "[paper: He 2015, fig. 1]"),
                 remedies=["shrink", "add_skip", "add_norm"], depth=len(case.hidden) + 1
                 )  # fmt: skip


def unsuitable_nonlinearity(case: Case) -> Finding | CannotTell | None:
    """M216: a hidden non-linearity that does not suit: softmax, exponential, one applied twice.

    Looks like: a softmax between layers, whose outputs sum to one; an exponential that overflows.
    Why it harms: softmax lets one unit speak at a time and passes hardly any gradient; exponentials
        of exponentials leave the numbers.
    Look-alikes: attention weights (a softmax over positions), gates.
    Exams: replace_activation_arm.
    Remedies: replace_activation.
    Source: [assumed]; what runs is seen by one forward pass.
    """
    model = case.facts.model
    if model is None:
        return CannotTell(missing="model")
    for kind, names in (("softmax", ("softmax", "log_softmax")), ("exponential", ("exp",))):
        where = [layer.name for layer in case.hidden if layer.nonlinearity in names]
        if where:
            spared = 0.55 if kind == "softmax" else 0.3
            return found("M216", by_harm(case, sure=0.95, unknown=0.85, spared=spared),
                         seen("layer.nonlinearity", kind, "relu, tanh, …", where=where[0]),
                         kind=kind, where=where, remedies=["replace_activation"])  # fmt: skip
    twice = [n for n in model.repeated_nonlinearities if n in {x.name for x in case.hidden}]
    if twice:
        return found("M216", by_harm(case, sure=0.5, unknown=0.3, spared=0.15),
                     seen("model.repeated_nonlinearities", len(twice), 0, where=twice[0]),
                     kind="repeated", where=twice, remedies=["replace_activation"])  # fmt: skip
    return None
