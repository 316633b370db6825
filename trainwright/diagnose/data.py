"""What is wrong with the data? Mostly facts, seen before the first step; what a finding is worth is
then decided by what the trained model lost."""

import numpy as np

from trainwright.core.diagnosis import Finding
from trainwright.diagnose.case import CannotTell, Case
from trainwright.diagnose.found import by_harm, found, seen
from trainwright.diagnose.scale import few_rows

WRONG_AMONG_SURE = 0.2  # out-of-fold errors in the surest half: noise that is everywhere [assumed]
OUTDONE = 0.1  # so much better on new examples, the network shows that learners err [assumed]
FEWEST_JUDGED = 300  # examples: with fewer, learners are surely wrong by themselves [assumed]
IMBALANCE = 5.0  # commonest class over rarest [assumed]
MISSED, MOSTLY_MISSED = 0.3, 0.5  # recall of a class that was not learned [assumed]
RARE_CLASSES = ["weigh_classes", "adjust_logits", "focal_loss", "start_bias"]
ALONE_GAP = 0.1  # and so much better than any other feature [assumed]
OVERLAP = 0.2  # share of validation examples that are training examples [assumed]
ALONE = 0.985  # score of one feature alone that gives the answer away [assumed]
UNMIXED = 0.5  # entropy of the classes in a batch over a shuffled one's [assumed]
PER_CLASS = 20  # examples a class below which more data is the first thing to ask for [assumed]
FEW_NUMBERS = 3  # a regression counts as so many classes [assumed]


def labels_wrong(case: Case) -> Finding | CannotTell | None:
    """D104: a share of the labels is wrong.

    Looks like: learners that did not see an example contradict its label although they are sure,
        and that all over the data, not at the borders between classes.
    Why it harms: the network first learns the rule, then the errors by heart (memorisation).
    Look-alikes: classes that overlap (errors are where learners are unsure), a rare class.
    Exams: cross_validated_label_noise.
    Remedies: clean_labels, robust_loss.
    Source: Northcutt et al. 2021, confident learning; [assumed] threshold.
    """
    score, targets = case.facts.score, case.facts.targets
    if targets is not None and targets.task == "regression":
        return None
    if score is None or score.confident_error is None:
        return CannotTell(missing="score.confident_error")
    best = max(s for s in (score.reference, score.confident_score, 0.0) if s is not None)
    learnable = best > score.constant + max(0.05, 3 * (score.reference_sd or 0.0))
    outdone = score.valid is not None and score.valid > best + OUTDONE
    if score.num_train < FEWEST_JUDGED or not learnable or outdone:
        return None
    if score.confident_error < WRONG_AMONG_SURE:
        return None
    return found("D104", 0.6 + 0.3 * min(1.0, score.confident_error / 0.4),
                 seen("score.confident_error", score.confident_error, WRONG_AMONG_SURE,
                      "[assumed]"),
                 remedies=["clean_labels"], share=score.confident_error)  # fmt: skip


def labels_unrelated(case: Case) -> Finding | CannotTell | None:
    """D105: the labels have nothing to do with the inputs, or belong to other rows.

    Looks like: near neighbours agree no more often than by chance, no learner beats a constant;
        the network stays at the prior on validation while it slowly memorises.
    Why it harms: there is nothing to learn.
    Look-alikes: a rule that only a network can find (parity); unscaled inputs.
    Exams: shuffled_labels.
    Remedies: realign_labels.
    Source: [measured: permutation test over 5 nearest neighbours, 99 % point].
    """
    targets, score = case.facts.targets, case.facts.score
    if targets is None or targets.neighbour_agreement is None:
        return CannotTell(missing="targets.neighbour_agreement")
    chance = targets.neighbour_chance_high
    inputs = case.facts.inputs
    if chance is None or targets.neighbour_agreement > chance:
        return None
    if inputs is None or inputs.num_examples < 100 or score is None or score.reference is None:
        return None
    no_learner = score.reference <= score.constant + max(0.03, 2 * (score.reference_sd or 0.0))
    learned = score.valid is not None and score.valid > score.constant + 0.05
    if not no_learner or learned:
        return None
    agreement = seen("targets.neighbour_agreement", targets.neighbour_agreement, chance,
                     "[measured: 99 % of shuffles]")  # fmt: skip
    best = seen("score.reference", score.reference, score.constant, "best constant answer")
    sure = 0.85 if score.valid is not None or not case.trained else 0.6
    return found("D105", sure, agreement, best, remedies=["realign_labels"])


def labels_degenerate(case: Case) -> Finding | CannotTell | None:
    """D106: one class only, a constant target, or values that the loss does not take.

    Looks like: the loss goes to zero or to nonsense at once.
    Why it harms: nothing can be learned from a constant; a wrong code is a wrong answer.
    Look-alikes: none.
    Exams: none, it is certain.
    Remedies: encode_labels, drop_rows.
    Source: [measured: counted].
    """
    targets = case.facts.targets
    if targets is None:
        return CannotTell(missing="targets")
    head, loss = case.facts.head, case.facts.loss
    # What the criterion takes without complaint, as -1 for places that do not count, is meant so.
    taken = targets.kind == "indices" and loss is not None and loss.error is None and (
        loss.initial is not None and np.isfinite(loss.initial)
    )  # fmt: skip
    beyond = targets.kind == "indices" and head is not None and head.num_outputs > 1 and (
        targets.high >= head.num_outputs or targets.low < 0
    )  # fmt: skip
    if (
        beyond
        and not taken
        and head is not None
        and targets.task == "multiclass"
        and targets.shape == ()
    ):
        return found("D106", 0.97, seen("targets.high", targets.high, head.num_outputs - 1,
                                        "outputs of the model"),
                     kind="outside_range", remedies=["encode_labels"], count=0)  # fmt: skip
    two = targets.kind == "real" and targets.kurtosis is not None and targets.kurtosis < -1.7
    endless = two and loss is not None and loss.falls_when_right_rises is False
    if endless or targets.codes is not None:
        # Two values only, in a loss that has no least value for them, or that wants 0 and 1.
        return found("D106", 0.93, seen("targets.low", targets.low, 0.0, "0 and 1"),
                     seen("targets.high", targets.high, 1.0, "0 and 1"), kind="outside_range",
                     remedies=["encode_labels"], count=0)  # fmt: skip
    if targets.bad_values and not taken:
        return found("D106", 0.97, seen("targets.bad_values", targets.bad_values, 0, "counted"),
                     kind="outside_range", remedies=["encode_labels", "drop_rows"],
                     count=targets.bad_values)  # fmt: skip
    present = sum(1 for count in targets.counts if count)
    if targets.counts and present == 1:
        return found("D106", 0.97, seen("targets.classes", present, 2, "counted"),
                     kind="one_class", remedies=["encode_labels"])  # fmt: skip
    if targets.task == "regression" and targets.sd <= 1e-9 * max(1.0, abs(targets.mean)):
        return found("D106", 0.97, seen("targets.sd", targets.sd, "> 0", "counted"),
                     kind="constant", remedies=["encode_labels"])  # fmt: skip
    return None


def class_imbalance(case: Case) -> Finding | CannotTell | None:
    """D107: classes so unequal that the rare ones were not learned.

    Looks like: accuracy near the share of the commonest class, recall of a rare one near zero.
    Why it harms: answering the commonest class is a valley that a mean loss likes.
    Look-alikes: a rare class that nobody can tell apart.
    Exams: logit_adjustment.
    Remedies: weigh_classes, adjust_logits, focal_loss, start_bias.
    Source: [assumed] thresholds; Buda et al. 2018.
    """
    targets, score = case.facts.targets, case.facts.score
    if targets is None:
        return CannotTell(missing="targets")
    counts = [count for count in targets.counts if count]
    if targets.task not in ("multiclass", "binary") or len(counts) < 2:
        return None
    ratio = max(counts) / min(counts)
    if ratio < IMBALANCE:
        return None
    unequal = seen("targets.imbalance", ratio, IMBALANCE, "[assumed]")
    if not case.trained:
        return found("D107", 0.35, unequal, remedies=RARE_CLASSES, ratio=ratio)
    if score is None or not score.recalls:
        return CannotTell(missing="score.recalls")
    recalls = np.asarray(score.recalls, float)
    common = int(np.argmax(targets.counts)) if len(recalls) == len(targets.counts) else 0
    low = float(np.min(np.nan_to_num(recalls, nan=1.0)))
    if low >= MOSTLY_MISSED or recalls[common] < 0.5:
        return None
    worst = seen("score.recall", low, MISSED, "[assumed]")
    return found("D107", 0.9 if low < MISSED else 0.6, unequal, worst,
                 remedies=RARE_CLASSES, ratio=ratio)  # fmt: skip


def leakage(case: Case) -> Finding | CannotTell | None:
    """D108: the answer is in the question, or validation examples were learned from.

    Looks like: validation too good too early; one feature suffices; the same rows in both splits.
    Why it harms: the score is not what the model will have in use.
    Look-alikes: an easy task; few distinct inputs (then everything repeats).
    Exams: drop_suspect_feature.
    Remedies: drop_columns, fix_split.
    Source: Kaufman et al. 2012; [assumed] thresholds.
    """
    inputs, targets = case.facts.inputs, case.facts.targets
    if inputs is None or targets is None:
        return CannotTell(missing="inputs")
    overlap = inputs.overlap_share
    if overlap is not None and overlap > OVERLAP and inputs.duplicate_share < overlap / 2:
        return found("D108", 0.9, seen("inputs.overlap", overlap, OVERLAP, "[assumed]"),
                     kind="overlap", remedies=["fix_split"], share=overlap)  # fmt: skip
    single = targets.single_feature
    gap = single[1] - single[2] if single is not None else 0.0
    alone = single is not None and single[1] >= ALONE and gap > ALONE_GAP
    # Among many classes one feature never does nearly all of the work unless it holds the answer.
    alone = alone or (single is not None and single[1] >= 0.9 and gap > 0.5
                      and targets.num_classes > 2)  # fmt: skip
    if single is not None and alone and inputs.num_features >= 5:
        return found("D108", 0.75, seen("targets.single_feature", single[1], ALONE, "[assumed]"),
                     kind="single_feature", remedies=["drop_columns", "fix_split"],
                     feature=single[0], score=single[1])  # fmt: skip
    return None


def not_shuffled(case: Case) -> Finding | CannotTell | None:
    """D109: batches that hold one kind of example, or splits that lack a class.

    Looks like: the loss is periodic with the epoch, each batch of one class; a class is missing in
        training or validation.
    Why it harms: each step forgets what the one before has taught; what is never seen is never
        known.
    Look-alikes: a schedule with the epoch's period; very small batches.
    Exams: shuffled_epoch.
    Remedies: shuffle, stratify.
    Source: Bengio 2012, "Practical recommendations", section 3.1.2; [assumed] threshold.
    """
    targets = case.facts.targets
    if targets is None:
        return CannotTell(missing="targets")
    counts, held_out = targets.counts, targets.valid_counts
    if counts and held_out and len(counts) == len(held_out):
        absent = [
            i for i, (a, b) in enumerate(zip(counts, held_out, strict=True)) if b > 2 and not a
        ]
        if absent:
            lacks = seen("targets.missing_class", absent[0], "in both", "counted")
            return found("D109", 0.95, lacks, kind="class_missing", remedies=["stratify"],
                         classes=absent)  # fmt: skip
    mixture = _mixture(case)
    if mixture is None or mixture > UNMIXED:
        return None
    return found("D109", by_harm(case, sure=0.93, unknown=0.85, spared=0.6),
                 seen("batch_entropy", mixture, UNMIXED, "[assumed]"),
                 kind="ordered", since=1, remedies=["shuffle"])  # fmt: skip


def _mixture(case: Case) -> float | None:
    """Median entropy of the batches' classes over what a shuffled batch of that size has."""
    entropy, targets = case.history.step("batch_entropy"), case.facts.targets
    batch = case.facts.batch_size or 0
    if entropy is None or targets is None or batch < 8 or sum(targets.counts) == 0:
        return None
    if targets.kind == "real":  # the reading is of zeros and ones
        return None
    known = entropy[~np.isnan(entropy)]
    shares = np.asarray([count for count in targets.counts if count], float)
    shares /= shares.sum()
    # Miller 1955: a sample of B has on average (K - 1) / 2B nats less than its source.
    expected = float(-(shares * np.log(shares)).sum()) - (len(shares) - 1) / (2 * batch)
    return float(np.median(known)) / expected if len(known) >= 5 and expected > 0.2 else None


def too_little_data(case: Case) -> Finding | CannotTell | None:
    """D110: the training split is learned by heart, and nobody does better on new examples.

    Looks like: training score at its end, validation far below; simple learners on the same rows
        are no better.
    Why it harms: what is not in the data cannot be learned from it.
    Look-alikes: a model too large (then simpler learners do better), wrong labels.
    Exams: learning_curve.
    Remedies: add_data, mixup, add_noise, shrink, add_dropout.
    Source: [assumed] thresholds; learning curves, Viering and Loog 2022.
    """
    score, targets = case.facts.score, case.facts.targets
    if score is None or score.train is None or score.valid is None or targets is None:
        return CannotTell(missing="score.valid") if case.trained else None
    classes = targets.num_classes or FEW_NUMBERS
    few = score.num_train < PER_CLASS * classes
    gap = score.train - score.valid
    if not few or score.train < 0.95 or gap < 0.08 or score.num_valid < 20:
        return None
    return found("D110", 0.6 + 0.3 * min(1.0, gap / 0.3),
                 seen("score.gap", gap, 0.08, "[assumed]"),
                 seen("score.num_train", score.num_train, PER_CLASS * classes, "[assumed]"),
                 remedies=["add_data", "mixup", "add_noise", "shrink", "add_dropout"],
                 count=score.num_train)  # fmt: skip


def bad_rows(case: Case) -> Finding | CannotTell | None:
    """D111: examples with NaN, infinities or values far outside all others.

    Looks like: the loss spikes or leaves the numbers whenever certain rows are in the batch.
    Why it harms: one NaN in one gradient makes every weight NaN.
    Look-alikes: a rate too high (spikes at any batch).
    Exams: replay.
    Remedies: drop_rows, clip_gradient_norm.
    Source: counted; outliers 10 times as far from the median row as usual [assumed].
    """
    inputs = case.facts.inputs
    if inputs is None:
        return CannotTell(missing="inputs")
    if inputs.nonfinite_rows:
        bad = seen("inputs.nonfinite_rows", inputs.nonfinite_rows, 0, "counted")
        return found("D111", 0.97, bad, kind="nonfinite", remedies=["drop_rows"],
                     count=inputs.nonfinite_rows)  # fmt: skip
    few = 0 < len(inputs.outlier_rows) <= few_rows(inputs)
    if not few or inputs.kind != "table":
        return None
    far = seen("inputs.outlier_rows", len(inputs.outlier_rows), 0, "[assumed] 10 times usual")
    return found("D111", by_harm(case, sure=0.8, unknown=0.45, spared=0.2), far, kind="outlier",
                 remedies=["drop_rows", "clip_gradient_norm"],
                 count=len(inputs.outlier_rows))  # fmt: skip
