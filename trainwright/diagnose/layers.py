"""What do the signals do inside the network? Rules over layers in the order in which they run, at
the start (facts) and along training (readings)."""

import numpy as np

from trainwright.core.diagnosis import Finding
from trainwright.core.facts import LayerFacts
from trainwright.diagnose.case import CannotTell, Case, first_step_above, medians, newest
from trainwright.diagnose.found import by_harm, found, seen

RECTIFIED = ("relu", "relu6", "leaky_relu", "gelu", "silu", "elu", "selu", "threshold", "hardswish")
MANY_DEAD = 0.5  # share of units that nothing activates; He-initialised nets start at about 0.1
# [assumed]
MANY_AT_START = 0.7  # where the share has not grown by GROWN [assumed]
GROWN = 0.25
SATURATED = 0.5  # share of values in the flat part of tanh or sigmoid [assumed]
FADED = 1e-3  # first layer's gradient over the last one's [assumed; sigmoid: at most 0.25 a layer]
BURST = 1e3  # the same upside down, or growth of activations with depth [assumed]
LARGE_WEIGHTS = 4.0  # weight sd over He's sqrt(2 / fan_in) [assumed: variance 16 times as large]
LARGE_RECURRENT = 2.0  # the same of a recurrent layer, whose weights act at every time: a spectral
# radius near 3; orthogonal and Xavier starts have 1, torch's 0.6 [assumed]
SMALL_SIGNAL = 1e-3  # sd of the last hidden outputs over that of the first [assumed]
LARGE_BIAS = 1.0  # mean of a layer's biases; they start near 0 [assumed]


def dying_units(case: Case) -> Finding | CannotTell | None:
    """M202: units that no example activates any more.

    Looks like: a growing share of units that are zero for every example, often after one large
        step; the loss stops where the living ones leave it.
    Why it harms: a ReLU that is never active gets no gradient and never comes back.
    Look-alikes: networks sparse by design, a ReLU after a large bias on purpose.
    Exams: lower_rate_from_start.
    Remedies: lower_learning_rate, reinitialise_he, leaky_activation, add_norm.
    Source: Lu et al. 2019, "Dying ReLU and initialization"; [assumed] threshold.
    """
    dead = case.history.layer("dead_share")
    names = case.history.layers
    if dead is not None and case.history.first_nonfinite is not None:
        dead = dead[case.history.steps < case.history.first_nonfinite]  # NaN is never above zero
    if dead is None or not len(dead):
        return _dead_at_start(case)
    hidden = _is_hidden(case, names)
    late = np.where(hidden, newest(dead), np.nan)
    if np.isnan(late).all() or np.nanmax(late) < MANY_DEAD:
        return _dead_at_start(case)
    worst = int(np.nanargmax(late))
    share = float(late[worst])
    since = first_step_above(case.history, dead[:, worst], MANY_DEAD) or 0
    start = dead[np.isfinite(dead[:, worst]), worst][0]
    if share < MANY_AT_START and share - start < GROWN:
        return _dead_at_start(case)  # half of the units of a first layer on positive inputs
    whole = share > 0.98
    evidence = seen("dead_share", share, MANY_DEAD, "[assumed]", where=names[worst], step=since)
    where = [n for n, s in zip(names, late, strict=True) if s >= MANY_DEAD]
    sure = 0.95 if whole else 0.6 + 0.3 * share
    return found("M202", by_harm(case, sure=sure, unknown=0.8 if whole else 0.45,
                                 spared=0.15), evidence, since=since, where=where,
                 remedies=["lower_learning_rate", "reinitialise_he", "leaky_activation"],
                 share=share)  # fmt: skip


def _dead_at_start(case: Case) -> Finding | CannotTell | None:
    known = [x for x in case.hidden if x.dead_share is not None and x.nonlinearity in RECTIFIED]
    if not known:
        return CannotTell(missing="dead_share") if case.trained and not case.hidden else None
    worst = max(known, key=lambda x: x.dead_share or 0.0)
    share = worst.dead_share or 0.0
    if share < MANY_AT_START:
        return None
    sure = 0.9 if share > 0.98 else 0.75
    return found("M202", by_harm(case, sure=sure, unknown=0.6, spared=0.15),
                 seen("layer.dead_share", share, MANY_AT_START, "[assumed]", where=worst.name,
                      step=0),
                 where=[x.name for x in known if (x.dead_share or 0) >= MANY_AT_START],
                 line=worst.line,
                 remedies=["reinitialise_he", "leaky_activation"], share=share)  # fmt: skip


def saturated_units(case: Case) -> Finding | CannotTell | None:
    """M203: hidden units in the flat part of their non-linearity.

    Looks like: most pre-activations beyond 4 (sigmoid) or 2.6 (tanh); the gradient there is small.
    Why it harms: the slope of the non-linearity multiplies the gradient: flat means nothing passes.
    Look-alikes: a confident output head late in training; gates of a recurrent layer.
    Exams: rescaled_start.
    Remedies: reinitialise_xavier, add_norm, replace_activation, standardise_inputs.
    Source: Glorot and Bengio 2010, figures 2 and 3; [assumed] threshold.
    """
    readings, names = case.history.layer("saturated_share"), case.history.layers
    facts = {x.name: x.saturated_share for x in case.hidden if x.saturated_share is not None}
    if readings is None or not len(readings):
        if not facts:
            return None
        name, share = max(facts.items(), key=lambda item: item[1])
        since = 0
    else:
        values = np.where(_is_hidden(case, names), newest(readings), np.nan)
        if np.isnan(values).all():
            return None
        worst = int(np.nanargmax(values))
        name, share = names[worst], float(values[worst])
        since = first_step_above(case.history, readings[:, worst], SATURATED) or 0
    if share < SATURATED:
        return None
    return found("M203", by_harm(case, sure=0.6 + 0.35 * share, unknown=0.55, spared=0.1),
                 seen("saturated_share", share, SATURATED, "[assumed]", where=name, step=since),
                 where=[name], since=since,
                 remedies=["reinitialise_xavier", "add_norm", "replace_activation"],
                 share=share)  # fmt: skip


def gradient_profile(case: Case) -> tuple[list[str], np.ndarray, int] | None:
    """(layers, log10 of the gradient by their outputs relative to the last one's, step): from the
    first samples where there are any, else from the probe before the first step."""
    readings = case.history.layer("output_gradient")
    layers = {x.name: x for x in case.hidden}
    if readings is not None and len(readings):
        values = medians(readings[: min(5, len(readings))])
        names = list(case.history.layers)
        step = int(case.history.steps[0])
    else:
        names = list(layers)
        values = np.array([layers[n].gradient_rms or np.nan for n in names], float)
        step = 0
    keep = [i for i, v in enumerate(values) if np.isfinite(v) and _counts(layers, names[i])]
    if len(keep) < 3:
        return None
    values = np.maximum(values[keep], 1e-45)
    return [names[i] for i in keep], np.log10(values / values[-1]), step


def _counts(layers: dict[str, LayerFacts], name: str) -> bool:
    return name not in layers or layers[name].kind != "norm"


def vanishing_gradient(case: Case) -> Finding | CannotTell | None:
    """M204: the gradient fades on its way to the first layers (梯度消失).

    Looks like: the logarithm of the gradient by depth is a falling line towards the input; the
        first layers hardly move.
    Why it harms: |∂h_i/∂h_{i-1}| < 1 multiplied over the layers is exponentially small: nothing
        before the last layers learns.
    Look-alikes: frozen lower layers, residual branches that start at zero, a network that is done.
    Exams: half_depth, skip_arm.
    Remedies: add_skip, add_norm, reinitialise_he, replace_activation, reinitialise_orthogonal,
        reinitialise_lsuv, shrink.
    Source: lecture; Hochreiter 1991; Glorot and Bengio 2010; [assumed] threshold.
    """
    profile = gradient_profile(case)
    if profile is None:
        return None
    names, logs, step = profile
    drop = float(logs[0])
    if len(names) < 4 or drop > np.log10(FADED):
        return None
    x = np.arange(len(logs))
    line = np.polyfit(x, np.maximum(logs, -30), 1)
    if line[0] <= 0:
        return None
    slow = case.lost is None or case.lost > 0.05
    sure = 0.95 if slow else 0.6
    return found("M204", by_harm(case, sure=sure, unknown=0.7, spared=0.15),
                 seen("output_gradient", 10.0**drop, FADED, "[assumed]", where=names[0], step=step),
                 since=step, where=names[: max(1, len(names) // 2)],
                 remedies=["add_skip", "add_norm", "reinitialise_he", "replace_activation",
                           "reinitialise_orthogonal", "reinitialise_lsuv"],
                 gain=10.0 ** float(-line[0]), depth=len(names))  # fmt: skip


def exploding_gradient(case: Case) -> Finding | CannotTell | None:
    """M205: activations or gradients grow from layer to layer (梯度爆炸).

    Looks like: outputs grow by orders of magnitude with depth, or the gradient towards the input;
        the loss is not finite within a few steps.
    Why it harms: |∂h_i/∂h_{i-1}| > 1 multiplied over the layers: one step destroys the weights.
    Look-alikes: one bad batch, a rate too high (then the first step is still sound).
    Exams: replay, clip_arm.
    Remedies: clip_gradient_norm, add_norm, layer_norm, reinitialise_he, replace_activation,
        reinitialise_orthogonal, reinitialise_lsuv, lower_learning_rate.
    Source: lecture; Pascanu et al. 2013; [assumed] threshold.
    """
    forward = _growth(case)
    profile = gradient_profile(case)
    backward = float(profile[1][0]) if profile is not None and len(profile[0]) >= 4 else 0.0
    broken = case.diverged
    if forward is not None and forward[1] > BURST:
        name, growth, step = forward
        return found("M205", by_harm(case, sure=0.93, unknown=0.85, spared=0.15),
                     seen("output_sd", growth, BURST, "[assumed]", where=name, step=step),
                     kind="activation", where=[name], since=step,
                     remedies=["reinitialise_he", "add_norm", *_layer_norm(case),
                               "replace_activation", *_orthogonal(case), "reinitialise_lsuv"],
                     growth=growth)  # fmt: skip
    if profile is not None and backward > np.log10(BURST):
        return found("M205", by_harm(case, sure=0.9, unknown=0.7, spared=0.15),
                     seen("output_gradient", 10.0**backward, BURST, "[assumed]",
                          where=profile[0][0], step=profile[2]),
                     kind="gradient", where=profile[0][:1], since=profile[2],
                     remedies=["clip_gradient_norm", "reinitialise_he", "add_norm",
                               *_layer_norm(case), "reinitialise_orthogonal",
                               "reinitialise_lsuv"],
                     growth=10.0**backward)  # fmt: skip
    norms = case.history.step("gradient_norm_all")
    if norms is None or len(norms) < 5 or not broken:
        return None
    known = norms[np.isfinite(norms)]
    if len(known) < 5:
        return None  # the numbers were left at once, without growth before
    spike = float(np.max(known) / max(1e-30, np.median(known[:5])))
    if spike < BURST:
        return None
    at = first_step_above(case.history, norms, BURST * float(np.median(known[:5]))) or 0
    return found("M205", by_harm(case, sure=0.8, unknown=0.6, spared=0.1),
                 seen("gradient_norm_all", spike, BURST, "[assumed]", step=at), kind="gradient",
                 since=at, remedies=["clip_gradient_norm", "lower_learning_rate"],
                 growth=spike)  # fmt: skip


def _layer_norm(case: Case) -> list[str]:
    """What recurrent layers and attention are usually given, beside the norm of a batch."""
    return ["layer_norm"] if _has(case, "recurrent", "attention") else []


def _orthogonal(case: Case) -> list[str]:
    """What keeps the length of a signal over many steps of time."""
    return ["reinitialise_orthogonal"] if _has(case, "recurrent") else []


def _has(case: Case, *kinds: str) -> bool:
    model = case.facts.model
    return model is not None and any(layer.kind in kinds for layer in model.layers)


def _growth(case: Case) -> tuple[str, float, int] | None:
    """(layer, its output sd over the first layer's, step) where it is largest at the start."""
    names = [x.name for x in case.hidden if x.preactivation_sd is not None]
    values = np.array([x.preactivation_sd for x in case.hidden if x.preactivation_sd is not None])
    step = 0
    readings = case.history.layer("output_sd")
    if len(names) < 2 and readings is not None and len(readings):
        names, values, step = list(case.history.layers), readings[0], int(case.history.steps[0])
    known = [i for i, value in enumerate(values) if not np.isnan(value)]
    names, values = [names[i] for i in known], values[known]
    if len(values) < 2:
        return None
    filled = np.where(np.isfinite(values), values, 1e30)
    start = max(float(filled[0]), 1e-12)
    top = int(np.argmax(filled))
    return names[top], float(filled[top] / start), step


def bad_initialisation(case: Case) -> Finding | CannotTell | None:
    """M206: weights that start equal, too large, too small, or with biases far from zero.

    Looks like: rows of a layer that are the same; a first loss far above that of a constant;
        signals that are gone, or huge, after a few layers.
    Why it harms: equal units get equal gradients and stay equal; wrong sizes saturate, kill, or
        silence what follows.
    Look-alikes: pretrained weights, zero-initialised residual branches, a zero head.
    Exams: re_init_arm.
    Remedies: reinitialise_he, reinitialise_xavier, reinitialise_orthogonal, reinitialise_lsuv.
    Source: Glorot and Bengio 2010; He et al. 2015, eq. 14; [assumed] factors.
    """
    if case.facts.model is None:
        return CannotTell(missing="model")
    layers = [x for x in case.hidden if x.kind in ("linear", "convolution", "recurrent")]
    equal = [x for x in layers if (x.rows_equal or x.constant) and x.fan_out > 1
             and not x.residual_start]  # fmt: skip
    if equal:
        return _start(case, equal[0], "constant", 0.0, "all rows differ", 0.97, 0.93, 0.6, equal)
    biased = [x for x in layers if abs(x.bias_mean or 0.0) > LARGE_BIAS and x.kind != "recurrent"]
    if biased:
        worst = max(biased, key=lambda x: abs(x.bias_mean or 0.0))
        return _start(case, worst, "bias", worst.bias_mean or 0.0, LARGE_BIAS, 0.93, 0.75, 0.3,
                      biased)  # fmt: skip
    loss = case.facts.loss
    everything = case.facts.model.layers
    head = everything[-1] if everything else None
    if head is not None and abs(head.bias_mean or 0.0) > LARGE_BIAS and loss is not None:
        far = loss.initial is not None and loss.prior is not None and case.room is not None and (
            loss.initial > loss.prior + 2 * case.room
        )  # fmt: skip
        if far:
            return _start(case, head, "bias", head.bias_mean or 0.0, LARGE_BIAS, 0.93, 0.8, 0.4,
                          [head])  # fmt: skip
    large = [x for x in layers if _ratio(x) > _most(x) and not x.has_norm]
    if large:
        worst = max(large, key=_ratio)
        return _start(case, worst, "too_large", _ratio(worst), _most(worst), 0.9, 0.6, 0.2, large)
    signal = [x.preactivation_sd for x in layers if x.preactivation_sd is not None]
    small = [x for x in layers if 0 < _ratio(x) < 0.25 and not x.has_norm]
    if len(signal) >= 3 and small and signal[0] > 0 and signal[-1] / signal[0] < SMALL_SIGNAL:
        return _start(case, small[-1], "too_small", signal[-1] / signal[0], SMALL_SIGNAL, 0.93,
                      0.75, 0.2, small)  # fmt: skip
    return None


def _most(layer: LayerFacts) -> float:
    return LARGE_RECURRENT if layer.kind == "recurrent" else LARGE_WEIGHTS


def _ratio(layer: LayerFacts) -> float:
    if layer.weight_sd is None or not layer.he_sd:
        return 1.0
    return layer.weight_sd / layer.he_sd


def _start(
    case: Case, layer: LayerFacts, kind: str, value: float, threshold: float | str,
    sure: float, unknown: float, spared: float, layers: list[LayerFacts],
) -> Finding:  # fmt: skip
    return found("M206", by_harm(case, sure=sure, unknown=unknown, spared=spared),
                 seen(f"initial.{kind}", value, threshold, "[assumed]", where=layer.name, step=0),
                 kind=kind, where=[x.name for x in layers], line=layer.line,
                 remedies=["reinitialise_he", "reinitialise_xavier", "reinitialise_orthogonal",
                           "reinitialise_lsuv"],
                 value=value)  # fmt: skip


def _is_hidden(case: Case, names: tuple[str, ...]) -> np.ndarray:
    """[L]: every layer but the last to run; norm layers count as hidden."""
    hidden = np.ones(len(names), bool)
    if len(names):
        hidden[-1] = False
    return hidden
