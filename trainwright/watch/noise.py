"""How noisy are the gradients? Unbiased estimates of the true gradient's square and of the variance
of one example's gradient from each sampled step, and their running ratio, the noise scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

NOISE_DECAY = 0.9
NOISE_LEAST = 4  # estimates before a noise scale is given [assumed]


class Parts(NamedTuple):
    """`signal` estimates |G|^2 without bias, so it may be negative; `noise` estimates tr(S), S the
    covariance of one example's gradient; both in squared units of the gradient."""

    signal: float
    noise: float


NO_PARTS = Parts(math.nan, math.nan)


def from_successive(*, dot: float, squares: float, batch_size: int) -> Parts:
    """Of successive gradients g, h of B examples: |G|^2 ~ g.h, tr(S)/B ~ (|g|^2 + |h|^2)/2 - g.h.

    `squares`: mean of |g|^2 and |h|^2. NaN parts where one is not finite or B is not known.
    """
    if not batch_size or not math.isfinite(dot + squares):
        return NO_PARTS
    return Parts(dot, (squares - dot) * batch_size)


def from_microbatches(
    squares: Sequence[float], whole: float, sizes: Sequence[int], num_passes: int
) -> Parts:
    """Of k of the K backward passes of one step, c their gradients, b their examples:

    s = (|sum c|^2 - sum |c|^2) / (k (k - 1)) and n = (mean |c|^2 - s) / mean(1/b) estimate |G|^2
    and tr(S) of what each pass adds; K^2 times as much those of the whole step's gradient.
    `squares` |c|^2, `whole` |sum c|^2, `num_passes` K.

    Source: McCandlish et al. 2018, arXiv:1812.06162, appendix A.1, for batches of any sizes.
    """
    k, total = len(squares), sum(squares)
    if k < 2 or not math.isfinite(whole + total):
        return NO_PARTS
    signal = (whole - total) / (k * (k - 1))
    noise = (total / k - signal) / (sum(1 / b for b in sizes) / k)
    return Parts(num_passes**2 * signal, num_passes**2 * noise)


@dataclass(slots=True)
class Noise:
    """Simple noise scale tr(S)/|G|^2 in examples: the ratio of the parts' running means.

    Source: McCandlish et al. 2018, arXiv:1812.06162, equation 2.9 and appendix A.1 (the averages).
    """

    signal: float = 0.0
    signal_square: float = 0.0
    noise: float = 0.0
    weight: float = 0.0
    count: int = 0
    last_pair: int = -1  # the step whose estimate was told last, of two successive gradients

    def add(self, parts: Parts) -> float:
        """One more estimate; NaN while the signal is within three times its own standard error
        [measured: pure noise passes in 5 % of samples]."""
        if not math.isfinite(parts.signal + parts.noise):
            return math.nan
        keep = NOISE_DECAY
        self.signal = keep * self.signal + (1 - keep) * parts.signal
        self.signal_square = keep * self.signal_square + (1 - keep) * parts.signal**2
        self.noise = keep * self.noise + (1 - keep) * parts.noise
        self.weight = keep * self.weight + (1 - keep)
        self.count += 1
        mean = self.signal / self.weight
        spread = math.sqrt(max(self.signal_square / self.weight - mean * mean, 0.0))
        effective = min(self.count, (1 + keep) / (1 - keep))
        if self.count < NOISE_LEAST or mean <= 3 * spread / math.sqrt(effective):
            return math.nan
        return max(self.noise / self.weight, 0.0) / mean

    def readings(self, step: int, parts: Parts, pair: Parts) -> dict[str, float]:
        """The step's readings, from the `parts` of its micro-batches where it had some, else from
        its `pair` of successive gradients. Of pairs that share a gradient only every other one is
        told: what is told is independent, so that an interval can be reckoned from it."""
        if math.isnan(parts.signal):
            parts = pair
            told = step > self.last_pair + 1 and not math.isnan(pair.signal)
            self.last_pair = step if told else self.last_pair
        else:
            told = True
        return {
            "noise_scale": self.add(parts),
            "gradient_signal": parts.signal if told else math.nan,
            "gradient_noise": parts.noise if told else math.nan,
        }
