"""What is wrong with the loss function? Whether head, criterion and targets speak of the same thing
is found before the first step; rules only compare what the probes saw."""

import numpy as np

from trainwright.core.diagnosis import Finding
from trainwright.core.facts import HeadFacts, LossFacts, TargetFacts
from trainwright.diagnose.algorithm import unusual_rate
from trainwright.diagnose.case import CannotTell, Case
from trainwright.diagnose.found import by_harm, found, seen

CLASSES = ("multiclass", "binary", "multilabel")
OUT_OF_REACH = 0.05  # share of the loss between constant and perfect outputs that the head's range
# forbids to gain [assumed]
DOMINANT = 0.5  # a penalty that is more than half of the loss steers more than the data [assumed]
PROBABILITIES = ("softmax", "sigmoid")
CLASS_LIKE = 0.7  # share of near neighbours with the same whole number as target [assumed]
# How tensors leave the graph with their values, as the walk over it names the calls.
LEAVES_GRAPH = frozenset(("detach", "detach_", "data", "numpy", "tolist", "item", "tensor",
                          "new_tensor", "no_grad"))  # fmt: skip
ONE_APART = 1.5  # mean difference of the others; that of degrees is near 1 [assumed]


def _pair(case: Case) -> tuple[HeadFacts, LossFacts, TargetFacts] | CannotTell:
    facts = case.facts
    if facts.head is None:
        return CannotTell(missing="head")
    if facts.loss is None:
        return CannotTell(missing="loss")
    return CannotTell(missing="targets") if facts.targets is None else (
        facts.head, facts.loss, facts.targets)  # fmt: skip


def head_loss_mismatch(case: Case) -> Finding | CannotTell | None:
    """L301: the last activation and the criterion do not belong together.

    Looks like: probabilities in a loss that takes logits (softmax twice), or logits in one that
        takes probabilities; softmax where labels are not exclusive or over one unit; sigmoids for
        classes that exclude each other. The loss stops well above zero, or never moves.
    Why it harms: two squashings leave no gradient where the network is surely wrong; a head that
        always says one has nothing to learn; the minimum is not at the right answer.
    Look-alikes: label smoothing (the loss stays above zero on purpose), calibrated probabilities
        into the Brier score.
    Exams: repaired_head_arm.
    Remedies: pair_head_and_loss.
    Source: found by probing both, see `trainwright.check`; Goodfellow et al. 2016, section 6.2.2.
    """
    parts = _pair(case)
    if isinstance(parts, CannotTell):
        return parts
    head, loss, targets = parts
    if loss.error is not None and not targets.bad_values and targets.high < 1.5:
        return found("L301", 0.9, seen("loss.error", loss.error[:80], "a number", "probe"),
                     kind="refused", where=_last(case), remedies=["pair_head_and_loss"],
                     head=head.kind, error=loss.error[:80])  # fmt: skip
    kind, sure, unknown, spared = _mismatch(head, loss, targets)
    if not kind:
        return None
    return found(
        "L301", by_harm(case, sure=sure, unknown=unknown, spared=spared),
        seen("head.kind", head.kind, loss.expects or "unknown", "[measured: probes, check/head]"),
        kind=kind, where=_last(case), remedies=["pair_head_and_loss"],
        head=head.kind, expects=loss.expects or "", outputs=head.num_outputs, task=targets.task,
    )  # fmt: skip


def _mismatch(
    head: HeadFacts, loss: LossFacts, targets: TargetFacts
) -> tuple[str, float, float, float]:
    """(kind, confidence when harmful, when not known, when harmless); an empty kind: they pair."""
    nothing = ("", 0.0, 0.0, 0.0)
    classes = targets.task in CLASSES
    if head.kind == "constant" and head.num_outputs == 1:
        return "softmax_over_one", 0.98, 0.97, 0.9
    if not classes:
        return nothing
    if loss.expects == "logits" and head.kind in PROBABILITIES:
        return "double_softmax", 0.97, 0.93, 0.75
    if loss.expects == "logits" and head.kind in ("non_negative", "tanh", "bounded"):
        return "squashed_logits", 0.85, 0.6, 0.3
    multi = targets.task == "multilabel"
    competing = loss.exclusive and loss.expects in ("logits", "log_probabilities")
    if multi and (head.kind in ("softmax", "log_softmax") or competing):
        return "softmax_for_multilabel", 0.97, 0.93, 0.6
    if loss.expects == "probabilities" and head.kind not in PROBABILITIES:
        return "logits_as_probabilities", 0.97, 0.93, 0.4
    if loss.expects == "log_probabilities" and head.kind != "log_softmax":
        return "logits_as_probabilities", 0.97, 0.93, 0.5
    if targets.task == "multiclass" and head.kind == "sigmoid" and loss.expects == "probabilities":
        return "sigmoid_for_exclusive", 0.9, 0.55, 0.25
    if loss.expects == "margins" and targets.kind == "zero_one":
        return "plus_minus", 0.9, 0.85, 0.4
    return nothing


def head_cannot_reach(case: Case) -> Finding | CannotTell | None:
    """L302: the last activation cannot give the values that the targets have.

    Looks like: a ReLU, sigmoid, tanh or softmax head on numbers outside its range; the loss stops
        at the value that the range allows.
    Why it harms: what lies outside the range can never be predicted, whatever is learned.
    Look-alikes: targets scaled into the range on purpose (then nothing is out of reach).
    Exams: repaired_head_arm.
    Remedies: linear_head, standardise_target.
    Source: [measured: range test over random parameters, `trainwright.check`].
    """
    parts = _pair(case)
    if isinstance(parts, CannotTell):
        return parts
    head, loss, targets = parts
    if targets.task != "regression" or head.kind == "linear":
        return None
    out = _share_out_of_reach(case, loss)
    outside = targets.low < head.low - 1e-6 or targets.high > head.high + 1e-6
    remedies = ["linear_head", "standardise_target"]
    where = _last(case)
    limits = seen("head.range", f"{head.low:.3g} to {head.high:.3g}",
                  f"{targets.low:.3g} to {targets.high:.3g}", "the targets' own range")  # fmt: skip
    if head.kind == "constant":
        return found("L302", 0.97, limits, kind="constant", where=where, remedies=remedies)
    if outside and out is not None and out > OUT_OF_REACH:
        lost = seen("loss.reachable", out, OUT_OF_REACH, "[assumed]")
        return found("L302", 0.97, limits, lost, kind="outside", where=where, remedies=remedies)
    if outside and out is None:
        return found("L302", by_harm(case, sure=0.9, unknown=0.7), limits, kind="outside",
                     where=where, remedies=remedies)  # fmt: skip
    if head.kind == "non_negative" and case.trained and (case.lost or 0) > 0.1:
        # In range, yet half of its inputs have no gradient: where it says 0 it can stay at 0.
        return found("L302", by_harm(case, sure=0.75, unknown=0.4), limits, kind="one_sided",
                     where=where, remedies=remedies)  # fmt: skip
    return None


def _share_out_of_reach(case: Case, loss: LossFacts) -> float | None:
    if loss.reachable is None or case.room is None or loss.perfect is None:
        return None
    return (loss.reachable - loss.perfect) / case.room


def wrong_loss_family(case: Case) -> Finding | CannotTell | None:
    """L303: the loss is of another kind than the task.

    Looks like: squared or absolute error, or a hinge on probabilities, where classes are to be
        told apart; cross-entropy on numbers that are none of a probability.
    Why it harms: squared error of a squashed output is flat where the network is surely wrong;
        absolute error is content with the commonest class.
    Look-alikes: distillation (targets are probabilities), the Brier score on purpose.
    Exams: swap_loss_arm.
    Remedies: swap_loss, pair_head_and_loss.
    Source: Golik et al. 2013 (Interspeech), cross-entropy against squared error.
    """
    parts = _pair(case)
    if isinstance(parts, CannotTell):
        return parts
    head, loss, targets = parts
    family = loss.family
    if _is_flat(loss):
        return found("L303", 0.95, seen("loss.room", 0.0, "> 0", "best constant against perfect"),
                     kind="flat", remedies=["swap_loss"], family=family or "other")  # fmt: skip
    if family is None:
        return CannotTell(missing="loss.family")
    same, apart = targets.neighbour_same, targets.neighbour_apart
    if targets.kind == "real" and family in ("squared", "absolute") and head.num_outputs == 1 and (
        same is not None and apart is not None and same > CLASS_LIKE and apart > ONE_APART
    ):  # fmt: skip
        return found("L303", 0.75, seen("targets.neighbour_same", same, CLASS_LIKE, "[assumed]"),
                     seen("targets.neighbour_apart", apart, ONE_APART, "[assumed]"),
                     kind="class_numbers", remedies=["swap_loss", "pair_head_and_loss"],
                     family=family, task=targets.task)  # fmt: skip
    if targets.task == "regression" and family in ("cross_entropy", "binary_cross_entropy"):
        if targets.low >= 0 and targets.high <= 1:
            return None  # shares and probabilities may be learned by cross-entropy
        return found("L303", 0.95, seen("loss.family", family, "numbers", "targets are real"),
                     kind="classes_for_numbers", remedies=["swap_loss"], family=family)  # fmt: skip
    if targets.task not in CLASSES or targets.kind in ("real", "plus_minus_one"):
        return None
    if family in ("squared", "absolute", "hinge"):
        squashed = head.kind in PROBABILITIES
        sure = 0.93 if family != "squared" or targets.task != "binary" else 0.7
        confidence = by_harm(
            case, sure=sure, unknown=0.8 if squashed or family == "hinge" else 0.6,
            spared=0.55 if family != "squared" and squashed else 0.35,
        )  # fmt: skip
        return found("L303", confidence, seen("loss.family", family, "cross_entropy", "the task"),
                     kind=family, remedies=["swap_loss", "pair_head_and_loss"],
                     family=family, task=targets.task)  # fmt: skip
    return None


def _is_flat(loss: LossFacts) -> bool:
    """The loss is the same whatever the outputs: one class for cross-entropy, say."""
    values = (loss.initial, loss.prior, loss.perfect)
    known = [v for v in values if v is not None]
    return len(known) == 3 and max(known) - min(known) <= 1e-9 and loss.error is None


def wrong_reduction(case: Case) -> Finding | CannotTell | None:
    """L304: the loss is reduced over the wrong thing, or has the wrong sign.

    Looks like: outputs [N] against targets [N, 1], which torch broadcasts to N x N pairs; a sum
        where a mean was meant, so that the rate depends on the batch; a loss that rises when the
        right answer does.
    Why it harms: the pairwise loss is least at a constant answer; a sum multiplies the gradient by
        the batch size.
    Look-alikes: a sum with a rate chosen for it.
    Exams: duplicate_batch_probe.
    Remedies: align_shapes, reduce_mean, fix_sign.
    Source: [measured: by probing the criterion, `trainwright.check`].
    """
    loss = case.facts.loss
    if loss is None:
        return CannotTell(missing="loss")
    if loss.broadcasts:
        return found("L304", 0.98, seen("loss.broadcasts", "N x N", "N", "shapes of the batch"),
                     kind="broadcast", remedies=["align_shapes"])  # fmt: skip
    if loss.falls_when_right_rises is False:
        return found("L304", by_harm(case, sure=0.95, unknown=0.9, spared=0.3),
                     seen("loss.falls_when_right_rises", "no", "yes", "probe"),
                     kind="sign", remedies=["fix_sign"])  # fmt: skip
    if loss.reduction == "sum" and case.trained and not case.solved:
        batch = case.facts.batch_size or 0
        if batch > 1 and (case.diverged or (case.lost or 0) > 0.1):
            return found("L304", by_harm(case, sure=0.75, unknown=0.55),
                         seen("loss.reduction", "sum", "mean", "duplicated batch"),
                         kind="sum", remedies=["reduce_mean"])  # fmt: skip
    return None


def unstable_loss(case: Case) -> Finding | CannotTell | None:
    """L305: the loss itself makes the first NaN or infinity, as the logarithm of zero does.

    Looks like: the loss is not finite while all layers' outputs still are.
    Why it harms: one such step ends training, often after hours.
    Look-alikes: a rate too high (outputs explode first).
    Exams: replay.
    Remedies: stable_loss.
    Source: [measured: fed both ends of the head's range, `trainwright.check`].
    """
    loss = case.facts.loss
    if loss is None:
        return CannotTell(missing="loss")
    step = case.history.first_nonfinite
    if loss.nonfinite_at is None:
        rows = case.facts.inputs.nonfinite_rows if case.facts.inputs is not None else 0
        rate = unusual_rate(case)
        if step is None or rows or (rate or 0.0) > 1 or not _calm_before(case, step):
            return None
        return found("L305", 0.75, seen("loss", "nan", "finite", step=step), kind="inside",
                     since=step, remedies=["stable_loss"], at="?")  # fmt: skip
    at = seen("loss.nonfinite_at", loss.nonfinite_at, "finite", "probe", step=step)
    if not case.trained:
        return found("L305", 0.55, at, remedies=["stable_loss"], at=loss.nonfinite_at)
    if step is None:
        return found("L305", 0.3, at, remedies=["stable_loss"], at=loss.nonfinite_at)
    return found("L305", 0.9 if _calm_before(case, step) else 0.5, at, since=step,
                 remedies=["stable_loss"], at=loss.nonfinite_at)  # fmt: skip


def _calm_before(case: Case, step: int) -> bool:
    """Up to the first loss that is no number neither loss nor gradient had grown."""
    losses = case.curve.values[case.curve.steps < step]
    if len(losses) and np.max(np.abs(losses)) > 3 * abs(losses[0]) + (case.room or 0.0):
        return False
    norms = case.history.step("gradient_norm_all")
    if norms is None:
        return True
    known = norms[(case.history.steps < step) & np.isfinite(norms)]
    return not len(known) or float(known.max()) < 30 * float(known[0]) + 1e-12


def gradient_cut(case: Case) -> Finding | CannotTell | None:
    """L306: an operation without a gradient stands between weights and loss (必須可微).

    Looks like: argmax, round, sign, a detour over numpy, detach: parameters before it get no
        gradient, or exactly zero.
    Why it harms: nothing before the cut can learn.
    Look-alikes: a target network or a stopped gradient on purpose; saturation (small, not zero).
    Exams: graph_walk.
    Remedies: reattach_gradient, straight_through, surrogate_loss, evolution_strategy.
    Source: lecture, "L and f must be differentiable"; walk over the graph, `trainwright.check`.
    """
    model, loss = case.facts.model, case.facts.loss
    if model is None:
        return CannotTell(missing="model")
    lost = len(model.gradient_missing) + len(model.gradient_zero)
    everything = loss is not None and not loss.differentiable
    wrong = [seen("bad_gradient", error, 1e-2, "[measured: finite differences]", where=name)
             for name, error in model.bad_gradients]  # fmt: skip
    if model.cuts and (lost or everything):
        operation, line = model.cuts[0]
        cut = seen("graph.cut", operation, "differentiable", "walk over the graph", where=line)
        return found("L306", 0.97 if everything else by_harm(case, sure=0.95, unknown=0.85), cut,
                     line=line, where=[*model.gradient_missing, *model.gradient_zero][:8],
                     remedies=_mends(operation), operation=operation)  # fmt: skip
    if everything:
        return found("L306", 0.95, seen("loss.differentiable", "no", "yes", "backward"),
                     remedies=["surrogate_loss"], operation="?")  # fmt: skip
    if wrong:
        return found("L306", 0.9, *wrong, kind="wrong_gradient", where=[w.where for w in wrong],
                     remedies=["surrogate_loss"], operation=wrong[0].where)  # fmt: skip
    return None


def _mends(operation: str) -> list[str]:
    """What leaves the graph is put back; what has no slope gets one; else another loss."""
    leaves = operation.partition(" ")[0] in LEAVES_GRAPH
    return ["reattach_gradient" if leaves else "straight_through", "surrogate_loss"]


def penalty_dominates(case: Case) -> Finding | CannotTell | None:
    """L307: a penalty or auxiliary term is most of what is minimised.

    Looks like: the criterion is a small share of the loss that goes backward, and it stays high.
    Why it harms: the weights follow the term, not the data.
    Look-alikes: terms that are large and constant (no gradient); a warm-up of terms.
    Exams: term_off_arm.
    Remedies: weaken_penalty.
    Source: [assumed] half of the loss.
    """
    share = case.history.step("penalty_share")
    known = share[~np.isnan(share)] if share is not None else np.zeros(0)
    if not len(known):
        return CannotTell(missing="penalty_share") if case.trained else None
    worst = float(np.median(known[-5:]))
    nothing = (case.lost or 0.0) > 0.8 and not case.improving
    # the criterion stays where it began; the term does not, for the weights have followed it
    held = nothing and (worst > 0.1 or float(np.mean(known[:5])) > 0.1)
    if worst < DOMINANT and not held:
        return None
    return found("L307", by_harm(case, sure=0.9, unknown=0.6, spared=0.2, fit=True),
                 seen("penalty_share", worst, DOMINANT, "[assumed]"), since=1,
                 remedies=["weaken_penalty"], share=worst)  # fmt: skip


def _last(case: Case) -> list[str]:
    model = case.facts.model
    return [model.layers[-1].name] if model is not None and model.layers else []
