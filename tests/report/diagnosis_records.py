"""Diagnoses and histories made by hand: a net whose rate is too high, and a healthy one."""

import numpy as np

from trainwright.core.diagnosis import Diagnosis, Evidence, Finding, Unseen
from trainwright.core.history import Curve, History


def dead() -> Finding:
    return Finding(
        code="M202", name="dying_units", severity="serious", confidence=0.8, since_step=5,
        where=("fc1",), remedies=("lower_learning_rate", "leaky_activation"),
        evidence=(Evidence(reading="dead_share", value=0.97, where="fc1", step=5, threshold=0.5,
                           provenance="[assumed]"),),
    )  # fmt: skip


def rate(num_layers: int = 3) -> Finding:
    return Finding(
        code="A401", name="learning_rate_too_high", severity="critical", confidence=0.93,
        where=tuple(f"fc{i + 1}" for i in range(num_layers)), line="train.py:41", since_step=3,
        evidence=(
            Evidence(reading="update_ratio", value=0.8, where="fc1", step=3, threshold=0.1,
                     provenance="[source: CS231n]"),
            Evidence(reading="loss", value="nan", step=9, threshold="finite"),
        ),
        values={"rate": 20.0}, remedies=("lower_learning_rate", "warm_up", "clip_gradient_norm"),
        consequences=(dead(),),
    )  # fmt: skip


def static() -> Finding:
    return Finding(
        code="L301", name="head_loss_mismatch", severity="critical", confidence=0.97,
        kind="double_softmax", where=("out",), since_step=0, remedies=("pair_head_and_loss",),
        evidence=(Evidence(reading="head.kind", value="softmax", threshold="logits",
                           provenance="[measured: probes]"),),
    )  # fmt: skip


UNSEEN = (
    Unseen(code="D104", missing="score.confident_error"),
    Unseen(code="A404", missing="noise_scale", reason="no micro-batches"),
    Unseen(code="A405", missing="noise_scale", reason="no micro-batches"),
)


def sick() -> Diagnosis:
    return Diagnosis(findings=(rate(),), unseen=UNSEEN, overhead=0.013, steps=400)


def three(num_layers: int = 10) -> Diagnosis:
    minor = Finding(
        code="D101", name="inputs_not_scaled", severity="minor", confidence=0.55, since_step=0,
        evidence=(Evidence(reading="inputs.spread", value=3000.0, threshold=100.0,
                           provenance="[assumed]"),),
        remedies=("standardise_inputs", "add_norm"),
    )  # fmt: skip
    return Diagnosis(
        findings=(static(), rate(num_layers), minor), possible=(dead(),), unseen=UNSEEN * 5,
        overhead=0.02, steps=20_000, muted=("D109",),
    )  # fmt: skip


def healthy() -> Diagnosis:
    weak = Finding(code="A402", name="learning_rate_too_low", severity="serious", confidence=0.31)
    return Diagnosis(possible=(weak,), unseen=UNSEEN[:1], overhead=0.009, steps=600)


def watched(num_layers: int = 6, num_samples: int = 60, *, sick: bool = True) -> History:
    """Readings of a plain net: gradients fade towards the input, units die from step 5 on."""
    rng = np.random.default_rng(0)
    steps = np.unique(np.concatenate([np.arange(1, 21), np.geomspace(22, 900, num_samples - 20)])
                      .astype(np.int64))  # fmt: skip
    T, L = len(steps), num_layers
    depth = np.arange(L)

    def noisy(values: np.ndarray, spread: float = 0.15) -> np.ndarray:
        return np.broadcast_to(values, (T, L)) * np.exp(spread * rng.standard_normal((T, L)))

    late = (steps > 5)[:, None]
    gradient = noisy(10.0 ** (0.5 * (depth - L + 1)))
    weight = noisy(np.full(L, 8.0), 0.02)
    update = weight * noisy(np.full(L, 1.5e-3)) * np.where(~late & sick, 300.0, 1.0)
    dead = np.where(late & sick & (depth < 3), 0.95 - 0.1 * depth, 0.02) * np.ones((T, L))
    dead[:, -1] = np.nan
    loss = 2.3 * np.exp(-steps / 300) + 0.1 * rng.random(T)
    if sick:
        loss = np.where(steps > 5, 2.303, 2.3 + steps)
    return History(
        steps=steps, layers=tuple(f"block.{i}.fc" for i in range(L)),
        by_layer={"weight_norm": weight, "update_norm": update, "gradient_norm": gradient * 3,
                  "output_gradient": gradient, "dead_share": dead},
        by_step={"loss": loss}, loss=Curve(steps=steps, values=loss),
        num_steps=int(steps[-1]), overhead=0.013,
    )  # fmt: skip
