"""Programs as rules see them, built by hand: a healthy one, and whatever a test changes in it."""

from dataclasses import replace

import numpy as np

from trainwright.core.facts import (
    Facts,
    HeadFacts,
    InputFacts,
    LayerFacts,
    LossFacts,
    ModelFacts,
    OptimizerFacts,
    ScoreFacts,
    TargetFacts,
)
from trainwright.core.history import Curve, History

LAYERS = ("fc1", "fc2", "fc3", "head")


def layer(name, **changes):
    facts = LayerFacts(
        name=name, kind="linear", fan_in=64, fan_out=64, nonlinearity="relu", weight_sd=0.17,
        he_sd=0.177, bias_high=0.1, bias_mean=0.0, preactivation_sd=1.0, preactivation_mean=0.0,
        dead_share=0.0, saturated_share=0.0, gradient_rms=1e-2, weight_gradient_norm=0.1,
    )  # fmt: skip
    return replace(facts, **changes)


def healthy_facts(**changes):
    facts = Facts(
        inputs=InputFacts(
            kind="table", num_examples=1000, num_features=20, low=-3.0, high=3.0, mean=0.0, sd=1.0,
            feature_sd_low=0.9, feature_sd_high=1.1, overlap_share=0.0, shift_sd=0.05,
            shift_scale=1.1,
        ),
        targets=TargetFacts(
            kind="indices", task="multiclass", shape=(), num_classes=4, counts=(250, 250, 250, 250),
            valid_counts=(50, 50, 50, 50), neighbour_agreement=0.9, neighbour_chance=0.25,
            neighbour_chance_high=0.3, single_feature=(0, 0.5, 0.45), order_correlation=0.0,
        ),
        head=HeadFacts(kind="linear", num_outputs=4, shape=(4,), low=-50.0, high=50.0),
        loss=LossFacts(
            expects="logits", family="cross_entropy", target_kind="indices", exclusive=True,
            falls_when_right_rises=True, reduction="mean", initial=1.4, prior=1.386, perfect=0.0,
            reachable=0.0,
        ),
        model=ModelFacts(
            num_parameters=10_000,
            layers=(layer("fc1"), layer("fc2"), layer("fc3"), layer("head", nonlinearity=None)),
        ),
        optimizer=OptimizerFacts(name="Adam", learning_rate=1e-3, betas=(0.9, 0.999), eps=1e-8),
        score=ScoreFacts(
            metric="accuracy", constant=0.25, linear=0.85, reference=0.94, reference_name="trees",
            reference_sd=0.01, confident_error=0.01, train=0.99, valid=0.95,
            recalls=(0.95, 0.95, 0.95, 0.95), num_train=1000, num_valid=200,
        ),
        batch_size=32, steps_per_epoch=31,
    )  # fmt: skip
    return replace(facts, **changes)


def changed(facts, part, **values):
    """Facts with some values of one part changed."""
    return replace(facts, **{part: replace(getattr(facts, part), **values)})


def healthy_history(steps=620, samples=40, **changes):
    rng = np.random.default_rng(0)
    at = np.unique(np.concatenate([np.arange(1, 21), np.linspace(21, steps, samples - 20)])).astype(
        int
    )
    T, L = len(at), len(LAYERS)
    one = np.ones((T, L))
    loss = 1.386 * np.exp(-np.arange(steps) / 80) + 0.05 + 0.02 * rng.standard_normal(steps)
    history = History(
        steps=at, layers=LAYERS, num_steps=steps, overhead=0.015,
        by_layer={
            "weight_norm": 8 * one, "gradient_norm": 0.1 * one, "update_norm": 8e-3 * one,
            "gradient_cosine": 0.2 * one, "update_cosine": 0.6 * one, "output_mean": 0 * one,
            "output_sd": one, "zero_share": 0.5 * one, "saturated_share": 0 * one,
            "dead_share": 0.02 * one, "output_gradient": 1e-2 * one, "nonfinite": 0 * one,
        },
        by_step={
            "gradient_norm_all": 0.2 * np.ones(T), "clip_ratio": np.ones(T),
            "learning_rate": 1e-3 * np.ones(T), "stale_gradient": np.zeros(T),
            "train_mode": np.ones(T), "penalty_share": np.zeros(T), "noise_scale": 40 * np.ones(T),
            "update_along_gradient": 0.7 * np.ones(T), "batch_entropy": 1.35 * np.ones(T),
        },
        loss=Curve(steps=np.arange(1, steps + 1), values=loss),
    )  # fmt: skip
    return replace(history, **changes)


def read(history, name, values):
    """A history with one reading replaced: by a number, a row [L], or a table [T, L] / [T]."""
    axis = "by_layer" if name in history.by_layer or np.ndim(values) == 2 else "by_step"
    shape = (
        (len(history.steps), len(history.layers)) if axis == "by_layer" else (len(history.steps),)
    )
    table = np.broadcast_to(np.asarray(values, float), shape).copy()
    return replace(history, **{axis: {**getattr(history, axis), name: table}})


def with_loss(history, values):
    """A history with another loss curve."""
    values = np.asarray(values, float)
    bad = np.flatnonzero(~np.isfinite(values))
    return replace(
        history, loss=Curve(steps=np.arange(1, len(values) + 1), values=values),
        num_steps=len(values), first_nonfinite=int(bad[0]) + 1 if len(bad) else None,
    )  # fmt: skip
