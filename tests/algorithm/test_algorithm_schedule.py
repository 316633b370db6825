"""Rates rise, fall, and meet torch's own schedulers at every step."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trainwright.algorithm.knobs import AlgorithmKnobs
from trainwright.algorithm.resolve import resolve_steps
from trainwright.algorithm.schedule import build_plateau, rate_share

SHAPES = ["constant", "linear", "cosine", "step", "one_cycle", "warmup_stable_decay", "plateau"]
T = 100


def torch_rates(make, steps=T, rate=1.0):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("settings", "make"),
    [
        (
            {"schedule": "cosine", "final_share": 0.1},
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=T, eta_min=0.1),
        ),
        (
            {"schedule": "linear", "final_share": 0.2},
            lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.2, total_iters=T),
        ),
        (
            {"schedule": "step", "step_every": 30, "step_factor": 0.5},
            lambda o: torch.optim.lr_scheduler.StepLR(o, 30, 0.5),
        ),
        ({"schedule": "constant"}, lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0)),
        (
            {"schedule": "one_cycle", "rise_share": 0.25, "final_share": 1 / 25 / 1e4},
            lambda o: torch.optim.lr_scheduler.OneCycleLR(
                o, 1.0, T, pct_start=0.25, cycle_momentum=False
            ),
        ),
    ],
)
def test_schedule_equals_torchs_at_every_step(settings, make):
    knobs = AlgorithmKnobs(warmup_steps=0, **settings)
    for step, expected in enumerate(torch_rates(make)):
        assert rate_share(knobs, step, T) == pytest.approx(expected, abs=1e-9), step


def test_warmup_stable_decay_is_its_closed_form():
    knobs = AlgorithmKnobs(schedule="warmup_stable_decay", warmup_steps=10, decay_share=0.2,
                           final_share=0.05)  # fmt: skip
    for step in range(T):
        if step < 10:
            expected = (step + 1) / 11
        elif step < 80:
            expected = 1.0
        else:
            expected = 0.05 + 0.95 * (1 - math.sqrt((step - 80) / 20))
        assert rate_share(knobs, step, T) == pytest.approx(expected, abs=1e-12), step


@given(
    shape=st.sampled_from(SHAPES),
    warmup=st.integers(0, 500) | st.just("auto"),
    total=st.integers(1, 400) | st.none(),
    step=st.integers(0, 450),
)
def test_share_stays_between_nothing_and_the_peak(shape, warmup, total, step):
    warmup = 0 if shape == "one_cycle" else warmup
    share = rate_share(AlgorithmKnobs(schedule=shape, warmup_steps=warmup), step, total)
    assert 0 <= share <= 1


@given(
    shape=st.sampled_from([s for s in SHAPES if s != "one_cycle"]),
    total=st.integers(2, 400),
    warmup=st.integers(0, 100),
    a=st.integers(0, 400),
    b=st.integers(0, 400),
)
def test_rate_never_rises_again_after_warmup(shape, total, warmup, a, b):
    knobs = AlgorithmKnobs(schedule=shape, warmup_steps=warmup)
    early, late = sorted((max(a, warmup), max(b, warmup)))
    assert rate_share(knobs, late, total) <= rate_share(knobs, early, total) + 1e-12


@given(shape=st.sampled_from(SHAPES), total=st.integers(1, 5000))
def test_resolved_steps_give_the_rates_that_auto_gave(shape, total):
    knobs = AlgorithmKnobs(schedule=shape)
    resolved = resolve_steps(knobs, total)
    assert "auto" not in (resolved.warmup_steps, resolved.step_every)
    for step in {0, total // 2, total - 1}:
        assert rate_share(resolved, step, total) == rate_share(knobs, step, total)


@given(values=st.lists(st.floats(0, 10), min_size=1, max_size=60), patience=st.integers(0, 4))
def test_plateau_equals_torchs(values, patience):
    knobs = AlgorithmKnobs(schedule="plateau", plateau_patience=patience, final_share=0.01)
    plateau = build_plateau(knobs)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=knobs.plateau_factor, patience=patience, min_lr=0.01
    )
    for value in values:
        plateau.feed(value)
        oracle.step(value)
        assert plateau.share == pytest.approx(optimizer.param_groups[0]["lr"])


def test_plateau_continues_from_its_state_and_nan_is_no_gain():
    knobs = AlgorithmKnobs(schedule="plateau", plateau_patience=1)
    whole, first = build_plateau(knobs), build_plateau(knobs)
    values = [math.nan, 1.0, math.nan, 1.0, 1.0, 0.5, 0.5, 0.5]
    for value in values[:4]:
        first.feed(value)
    second = build_plateau(knobs)
    second.load(json.loads(json.dumps(first.state())))
    for value in values:
        whole.feed(value)
    for value in values[4:]:
        second.feed(value)
    assert second.state() == whole.state()
    assert second.share < 1


def test_other_schedules_have_no_plateau():
    assert build_plateau(AlgorithmKnobs()) is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"schedule": "constant", "final_share": 0.5}, "drop final_share"),
        ({"schedule": "one_cycle", "warmup_steps": 5}, "set rise_share"),
        ({"optimizer": "adagrad", "momentum": 0.9}, "drop momentum"),
        ({"optimizer": "adamw", "nesterov": True}, "nadam"),
        ({"optimizer": "sgd", "nesterov": True, "momentum": 0}, "raise momentum"),
        ({"optimizer": "sgd", "beta2": 0.9}, "drop beta2"),
        ({"optimizer": "sgd", "eps": 1e-3}, "drop eps"),
        ({"sampler_weights": {"a": 2}}, "sampler = 'weighted'"),
        ({"sampler": "weighted", "sampler_weights": {"a": -1}}, "not be negative"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_with_the_way_out(settings, words):
    with pytest.raises(ValidationError, match=words):
        AlgorithmKnobs(**settings)
