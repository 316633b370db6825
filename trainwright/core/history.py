"""What was measured while a network trained? Arrays by name, over steps and over layers, as `watch`
takes them and rules read them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

# By layer [sampled step, layer]; NaN where a layer did not run or the quantity does not apply.
LAYER_READINGS = {
    "weight_norm": "L2 norm of the layer's parameters before the step",
    "gradient_norm": "L2 norm of their gradient as the optimiser got it",
    "update_norm": "L2 norm of what the step really added to them",
    "gradient_cosine": "cosine of this gradient and that of the step before",
    "update_cosine": "cosine of this update and that of the step before",
    "output_mean": "mean of the layer's outputs, before its non-linearity",
    "output_sd": "standard deviation of the same",
    "zero_share": "share of values that the non-linearity sets to (nearly) zero",
    "saturated_share": "share of values in the flat part of the layer's own non-linearity",
    "dead_share": "share of units that no example of the last samples has activated",
    "output_gradient": "root mean square of the loss's gradient by the layer's outputs",
    "norm_drift": "|running mean - batch mean| in batch sd, of a norm layer that keeps statistics",
    "attention_entropy": "entropy of attention weights as a share of the uniform one's",
    "nonfinite": "count of NaN and infinities in outputs, gradients, and parameters",
}
# By sampled step.
STEP_READINGS = {
    "loss": "the step's loss",
    "gradient_norm_all": "L2 norm of the whole gradient",
    "clip_ratio": "gradient norm that the optimiser got over that of backward: 1 = not clipped",
    "learning_rate": "of the first group",
    "output_low": "smallest output of the model on the batch",
    "output_high": "largest output",
    "output_spread": "sd over the batch of the outputs, mean over outputs",
    "output_entropy": "entropy of the softmax of the outputs as a share of the uniform one's",
    "output_margin": "mean difference of the two largest outputs",
    "output_majority": "share of the batch whose largest output is the commonest one",
    "batch_score": "accuracy on the batch, or 1 - MSE/variance for real targets",
    "noise_scale": "simple gradient noise scale, in examples (McCandlish 2018, eq. 2.9)",
    "gradient_signal": "estimate of |G|^2 of the true gradient; unbiased, so it may be negative",
    "gradient_noise": "estimate of tr(S), the variance of one example's gradient over parameters",
    "seconds_waiting": "between the last update and this forward",
    "seconds_computing": "forward and backward",
    "seconds_updating": "the optimiser's step",
    "num_backwards": "backward calls since the last update",
    "update_along_gradient": "cosine of the update and minus the gradient",
    "stale_gradient": "1 when gradients were not zero before the step's first backward, else 0",
    "train_mode": "1 when the model was in training mode in forward, else 0",
    "penalty_share": "share of the loss that went backward and is not the criterion's",
    "batch_entropy": "entropy of the classes in the batch, in nats",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One number over steps; [point] arrays of equal length."""

    steps: np.ndarray
    values: np.ndarray


def _no_curve() -> Curve:
    return Curve(steps=np.zeros(0, np.int64), values=np.zeros(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The readings of one run.

    `steps` [T] are the sampled steps, from 1; `by_layer` holds [T, L] and `by_step` [T] arrays of
    float64; `loss` every step's loss (thinned evenly when very long); `train` and `valid` what was
    told at ends of epochs, by metric.
    """

    steps: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    layers: tuple[str, ...] = ()
    by_layer: Mapping[str, np.ndarray] = field(default_factory=dict)
    by_step: Mapping[str, np.ndarray] = field(default_factory=dict)
    loss: Curve = field(default_factory=_no_curve)
    train: Mapping[str, Curve] = field(default_factory=dict)
    valid: Mapping[str, Curve] = field(default_factory=dict)
    num_steps: int = 0  # taken, sampled or not
    first_nonfinite: int | None = None  # the first step whose loss was not finite
    unseen: Mapping[str, str] = field(default_factory=dict)  # reading -> why it is missing
    overhead: float | None = None  # share of the elapsed time that watching took

    def layer(self, name: str) -> np.ndarray | None:
        """[T, L] of a layer reading; None when it was never taken."""
        return self.by_layer.get(name)

    def step(self, name: str) -> np.ndarray | None:
        """[T] of a step reading; None when it was never taken."""
        return self.by_step.get(name)
