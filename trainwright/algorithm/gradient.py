"""What happens to gradients and weights around the optimiser's step? Penalties and clipping before
it, decoupled decay and the proximal step beside it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm

from trainwright.algorithm.knobs import AlgorithmKnobs


def is_weight(parameter: Tensor) -> bool:
    """Whether penalties and decay apply: matrices and kernels, not biases and norms.

    Source: Goodfellow et al. 2016, ch. 7.1 (biases need none); He et al. 2019, arXiv:1812.01187,
    section 3.1 (nor do norms).
    """
    return parameter.ndim >= 2


class GradientWork:
    """The knobs l1, l2, weight_decay, clip_norm and clip_value at work on one module.

    Nothing here waits for an accelerator: no value is fetched.
    """

    def __init__(self, knobs: AlgorithmKnobs, module: nn.Module) -> None:
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._weights: list[Tensor] = [p for p in self._parameters if is_weight(p)]
        self._clip_norm, self._clip_value = knobs.clip_norm, knobs.clip_value
        self._l1, self._l2, self._l1_form = knobs.l1, knobs.l2, knobs.l1_form
        assert knobs.weight_decay != "auto", "knobs must be resolved: algorithm/resolve.py"
        self._decay = knobs.weight_decay

    @torch.no_grad()
    def before_step(self) -> Float[Tensor, ""] | None:
        """Adds the penalties to the gradients, then clips them; their length before clipping, if
        that was asked for.

        g <- g + l2 w (+ l1 sign(w) when l1_form = penalty), then
        g <- g min(1, clip_norm / (|g| + 1e-6)), then g <- min(max(g, -clip_value), clip_value)
        """
        if self._l2 or (self._l1 and self._l1_form == "penalty"):
            self._add_penalties()
        norm = None
        if self._clip_norm is not None:
            norm = get_total_norm([p.grad for p in self._parameters if p.grad is not None])
            clip_grads_with_norm_(self._parameters, self._clip_norm, norm)
        if self._clip_value is not None:
            clip_grad_value_(self._parameters, self._clip_value)
        return norm

    @torch.no_grad()
    def decay(self, rate: float) -> None:
        """w <- (1 - rate weight_decay) w, before the step, whatever the optimiser.

        Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.
        """
        if self._decay and self._weights:
            torch._foreach_mul_(self._weights, 1 - rate * self._decay)  # pyright: ignore[reportPrivateImportUsage]

    @torch.no_grad()
    def after_step(self, rate: float) -> None:
        """w <- sign(w) max(|w| - rate l1, 0): the proximal step of l1 |w|, exact zeros.

        Source: Parikh & Boyd 2014, Proximal Algorithms, section 6.5.2.
        """
        if self._l1 and self._l1_form == "proximal":
            for weight in self._weights:
                weight.copy_(torch.nn.functional.softshrink(weight, rate * self._l1))

    def _add_penalties(self) -> None:
        weights = [w for w in self._weights if w.grad is not None]
        gradients = [w.grad for w in weights if w.grad is not None]
        if not gradients:
            return
        if self._l2:
            torch._foreach_add_(gradients, weights, alpha=self._l2)  # pyright: ignore[reportPrivateImportUsage]
        if self._l1 and self._l1_form == "penalty":
            signs = [w.sign() for w in weights]
            torch._foreach_add_(gradients, signs, alpha=self._l1)  # pyright: ignore[reportPrivateImportUsage]
