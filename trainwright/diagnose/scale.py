"""Have inputs and targets the scale that a network starts from? Facts before the first step; what
an oddity is worth is then decided by what the trained model lost."""

import numpy as np

from trainwright.core.diagnosis import Finding
from trainwright.core.facts import InputFacts
from trainwright.diagnose.case import CannotTell, Case
from trainwright.diagnose.found import by_harm, found, seen

LARGE_INPUT = 10.0  # root mean square of inputs; standardised ones have 1 [assumed]
LARGE_FEATURE = 30.0  # sd of one feature beside others of 1 [assumed]
SMALL_INPUT = 0.02  # scaled by 255 twice gives 0.002 [assumed]
SPREAD = 1e3  # largest over smallest sd of features: condition number 1e6 [paper: LeCun 1998, 4.3]
LARGE_TARGET = 10.0  # sd or |mean| of a regression target [assumed]
SHIFT = 1.0  # train and validation means apart by one sd of the feature [assumed]
FALL = 0.08  # accuracy or R2 lost from training to validation rows [assumed]
SCALE = 3.0  # validation sd over train sd [assumed]


def few_rows(inputs: InputFacts) -> int:
    """So many rows are a few: odd ones, not the data."""
    return max(3, int(0.02 * inputs.num_examples))


def inputs_not_scaled(case: Case) -> Finding | CannotTell | None:
    """D101: inputs far from zero mean and unit variance.

    Looks like: features that span decades, or values in the hundreds; the first layer's gradient
        is that of a few columns; the loss jumps, or units die in the first steps.
    Why it harms: the loss is a narrow valley along the large features; any rate is too high for
        them and too low for the others.
    Look-alikes: codes of categories, pixels 0-255 into a norm layer.
    Exams: standardised_copy.
    Remedies: standardise_inputs, add_norm, min_max_inputs.
    Source: LeCun et al. 1998, "Efficient BackProp", section 4.3.
    """
    inputs, model = case.facts.inputs, case.facts.model
    if inputs is None:
        return CannotTell(missing="inputs")
    if inputs.kind == "tokens" or (model is not None and model.input_norm):
        return None
    size = float(np.hypot(inputs.mean, inputs.sd))
    spread = _spread(inputs)
    evidence = []
    if 0 < len(inputs.outlier_rows) <= few_rows(inputs):
        return None  # the size is that of a few rows: D111
    if size > LARGE_INPUT:
        evidence.append(seen("inputs.size", size, LARGE_INPUT, "[assumed]"))
    if spread is not None and spread > SPREAD:
        evidence.append(seen("inputs.spread", spread, SPREAD, "[paper: LeCun 1998, 4.3]"))
    if not evidence:
        return None
    extreme = size > 10 * LARGE_INPUT
    return found("D101", by_harm(case, sure=0.95 if extreme else 0.85, unknown=0.7), *evidence,
                 remedies=["standardise_inputs", "add_norm", "min_max_inputs"], size=size,
                 low=inputs.low, high=inputs.high)  # fmt: skip


def _spread(inputs: InputFacts) -> float | None:
    """Largest over smallest sd, where the largest is large; features that hardly ever vary (one
    pixel in a corner) do no harm beside standardised ones."""
    low, high = inputs.feature_sd_low, inputs.feature_sd_high
    return high / low if low and high and low > 0 and high > LARGE_FEATURE else None


def inputs_scaled_wrongly(case: Case) -> Finding | CannotTell | None:
    """D102: inputs scaled twice, or training and validation by different numbers.

    Looks like: all values below 0.02; validation statistics unlike those of training.
    Why it harms: a signal that small hardly moves the first layer; a model sees at validation what
        it never saw.
    Look-alikes: a true shift between the splits (other time, other site).
    Exams: refit_scaler.
    Remedies: fix_transform.
    Source: [assumed] thresholds, see the file.
    """
    inputs = case.facts.inputs
    if inputs is None:
        return CannotTell(missing="inputs")
    size = max(abs(inputs.low), abs(inputs.high))
    guarded = case.facts.model is not None and case.facts.model.input_norm
    if 0 < size < SMALL_INPUT and inputs.kind != "tokens" and not guarded:
        return found("D102", by_harm(case, sure=0.85, unknown=0.7),
                     seen("inputs.high", size, SMALL_INPUT, "[assumed]"),
                     kind="twice", remedies=["fix_transform", "standardise_inputs"])  # fmt: skip
    shift, scale = inputs.shift_sd, inputs.shift_scale
    apart = [
        seen(name, value, limit, "[assumed]")
        for name, value, limit in (("inputs.shift", shift, SHIFT), ("inputs.scale", scale, SCALE))
        if value is not None and value > limit
    ]
    if not apart or (case.facts.score is not None and case.facts.score.num_valid < 30):
        return None
    score = case.facts.score
    falls = score is not None and score.train is not None and score.valid is not None and (
        score.train - score.valid > FALL
    )  # fmt: skip
    confidence = 0.9 if falls else by_harm(case, sure=0.85, unknown=0.6, spared=0.2)
    return found("D102", confidence, *apart,
                 kind="statistics_differ", remedies=["fix_transform"])  # fmt: skip


def target_not_scaled(case: Case) -> Finding | CannotTell | None:
    """D103: a regression target far from zero mean and unit variance.

    Looks like: a loss in the thousands, gradients to match, tiny progress in relation to it.
    Why it harms: the last layer has to grow to the target's size first; at a usual rate the first
        steps throw the weights far off.
    Look-alikes: outliers (D111), heavy tails.
    Exams: standardised_target.
    Remedies: standardise_target.
    Source: LeCun et al. 1998, "Efficient BackProp", section 4.5.
    """
    targets = case.facts.targets
    if targets is None:
        return CannotTell(missing="targets")
    if targets.task != "regression":
        return None
    size = max(targets.sd, abs(targets.mean))
    if size <= LARGE_TARGET:
        return None
    sure = 0.9 if size > 10 * LARGE_TARGET else 0.75
    return found("D103", by_harm(case, sure=sure, unknown=0.65),
                 seen("targets.size", size, LARGE_TARGET, "[assumed]"),
                 remedies=["standardise_target"], sd=targets.sd, mean=targets.mean)  # fmt: skip
