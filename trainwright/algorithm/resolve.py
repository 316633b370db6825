"""What does `auto` mean here? Every `auto` of [algorithm] as a number, in one place, so that the
run's record shows what was used."""

import math
from typing import Any, Literal

from trainwright.algorithm.knobs import WITH_BETA2, AlgorithmKnobs, Optimizer
from trainwright.algorithm.schedule import auto_step_every, auto_warmup

# Customary rates. sgd: He et al. 2016, arXiv:1512.03385, halved for networks without norms
# [assumed]; adam: Kingma & Ba 2015, arXiv:1412.6980; nadam: Dozat 2016; rmsprop: Hinton 2012,
# lecture 6e; adagrad: torch's default [assumed]; muon: scaled to the RMS of adamw's steps, so that
# adamw's rate serves it too [paper: Liu et al. 2025, arXiv:2502.16982, section 2.2].
RATES: dict[Optimizer, float] = {
    "sgd": 0.05, "adam": 1e-3, "adamw": 1e-3, "nadam": 2e-3, "rmsprop": 1e-3, "adagrad": 1e-2,
    "muon": 1e-3, "evolution": 0.1,
}  # fmt: skip
# The network for tables (model `auto`): a large rate with a short memory of squared gradients
# [paper: Holzmueller et al. 2024, arXiv:2407.04491, table B.1: beta2 0.95, and a rate of 0.04 in a
# parametrisation that divides it by sqrt(width)], [measured: docs/LOG.md, 2026-11-25]
TABLE_RATES: dict[Optimizer, float] = {"adam": 3e-3, "adamw": 3e-3}
TABLE_BETA2 = 0.95
# The convnet of `auto`: batch norm bears large steps [paper: Ioffe & Szegedy 2015,
# arXiv:1502.03167, section 3.3], [measured: Fashion-MNIST, 6 epochs, .9205 with 1e-2 and .9005
# with 1e-3]
IMAGE_RATES: dict[Optimizer, float] = {"adam": 1e-2, "adamw": 1e-2}
DECAYS: dict[Optimizer, float] = {"adamw": 0.01, "muon": 0.1}  # [paper: see weight_decay's knob]
MOMENTA: dict[Optimizer, float] = {"muon": 0.95, "rmsprop": 0.0, "adagrad": 0.0}
# evolution [measured: digits, 32 units, 0-1 loss, 20 s on one core, test accuracy of three seeds:
# .92 .91 .94; batch 32 .89 .91 .83, 1024 .95 .93 .86; 128 tries .85 .95 .97; sigma 0.02 to 0.1 with
# rates of 0.01 to 0.1 leave a class out in about half of the runs]
POPULATION, SIGMA = 64, 0.2

STEPS_PER_EPOCH = 40  # auto batch: about this many steps an epoch ... [assumed]
LEAST_BATCH, MOST_BATCH = 16, 256  # ... within what a core is quick at [paper: see batch_size]


def resolve(
    knobs: AlgorithmKnobs,
    *,
    num_train: int,
    network: Literal["table", "image", "other"] | None = None,
    quick_precision: Literal["float32", "bfloat16"] = "float32",
) -> AlgorithmKnobs:
    """The knobs with numbers for `auto`. What the optimiser does not have stays `auto`, and so do
    warmup_steps and step_every, which need the number of steps: `resolve_steps`.

    `network`: which of our own networks stands for model `auto`; None for one asked for by name
    or the user's own. `quick_precision`: what the hardware is quick at, see precision.py.
    """
    name = knobs.optimizer
    table = network == "table"
    rates = RATES | {"table": TABLE_RATES, "image": IMAGE_RATES}.get(network or "", {})
    rules: dict[str, Any] = {
        "learning_rate": rates[name],
        "momentum": MOMENTA.get(name, 0.9),
        "nesterov": name == "muon" and knobs.momentum != 0,
        "weight_decay": DECAYS.get(name, 0.0),
        "batch_size": auto_batch_size(num_train),
        "precision": quick_precision if network == "image" else "float32",
    }
    if name in WITH_BETA2:
        rules["beta2"] = 0.99 if name == "rmsprop" else 0.999
        if table and name in TABLE_RATES:
            rules["beta2"] = TABLE_BETA2
    if name == "evolution":
        rules |= {"population": POPULATION, "sigma": SIGMA, "batch_size": MOST_BATCH}
    if name != "sgd":
        rules["eps"] = 1e-10 if name == "adagrad" else 1e-8
    return _fill(knobs, rules)


def resolve_steps(knobs: AlgorithmKnobs, total_steps: int) -> AlgorithmKnobs:
    """The knobs with numbers for what depends on the length of the run."""
    rules = {
        "warmup_steps": 0 if knobs.schedule == "one_cycle" else auto_warmup(total_steps),
        "step_every": auto_step_every(total_steps),
    }
    return _fill(knobs, rules)


def auto_batch_size(num_train: int) -> int:
    """The power of two nearest to num_train / 40, from 16 to 256."""
    nearest = 2 ** round(math.log2(max(1, num_train) / STEPS_PER_EPOCH))
    return int(min(max(nearest, LEAST_BATCH), MOST_BATCH))


def _fill(knobs: AlgorithmKnobs, rules: dict[str, Any]) -> AlgorithmKnobs:
    unset = {key: value for key, value in rules.items() if getattr(knobs, key) == "auto"}
    return knobs.model_copy(update=unset)
