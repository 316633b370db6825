"""How does the learning rate move over the run? Closed forms of the step's number, so that any
step can be asked for without the steps before it; only `plateau` has a memory."""

from dataclasses import dataclass
from math import cos, inf, pi, sqrt
from typing import Any

from trainwright.algorithm.knobs import AlgorithmKnobs

WARMUP_SHARE = 0.05  # auto warmup as a share of all steps [assumed]
MOST_WARMUP_STEPS = 200  # and at most [assumed]
UNKNOWN_WARMUP_STEPS = 100  # while a budget of seconds has not yet become one of steps [assumed]
CYCLE_START_SHARE = 1 / 25  # one_cycle's first rate [paper: Smith & Topin 2018, as torch has it]
LEAST_GAIN = 1e-4  # plateau: a gain is this share below the best loss, as in torch [assumed]


def rate_share(knobs: AlgorithmKnobs, step: int, total_steps: int | None) -> float:
    """Share of the peak rate for step number `step`, counted from 0, of `total_steps`.

    With w warmup steps, T total steps, f = final_share and u = (step - w) / (T - w):
        warmup                (step + 1) / (w + 1) while step < w
        constant, plateau     1
        linear                1 - (1 - f) u
        cosine                f + (1 - f) (1 + cos(pi u)) / 2
        step                  step_factor ^ floor((step - w) / step_every)
        warmup_stable_decay   1, then f + (1 - f) (1 - sqrt(v)), v from 0 to 1 over the last
                              decay_share of all steps
        one_cycle             a cosine from 1/25 to 1 over rise_share, another down to f
    An unknown total (None: a budget of seconds, at its beginning) is answered as if endless.
    step >= total_steps gives the end's share.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5; Smith & Topin 2018,
    arXiv:1708.07120 (without its cycle of momentum); Hägele et al. 2024, arXiv:2405.18392, (1).
    """
    assert step >= 0, step
    if knobs.schedule == "one_cycle":
        return CYCLE_START_SHARE if total_steps is None else _one_cycle(knobs, step, total_steps)
    warmup = _warmup(knobs, total_steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if total_steps is None:
        return 1.0
    final = knobs.final_share
    u = min(1.0, (step - warmup) / max(1, total_steps - warmup))
    match knobs.schedule:
        case "constant" | "plateau":
            return 1.0
        case "linear":
            return 1 - (1 - final) * u
        case "cosine":
            return final + (1 - final) * (1 + cos(pi * u)) / 2
        case "step":
            every = knobs.step_every
            every = auto_step_every(total_steps) if every == "auto" else every
            return knobs.step_factor ** ((step - warmup) // every)
        case "warmup_stable_decay":
            length = knobs.decay_share * total_steps
            v = min(1.0, max(0.0, (step - (total_steps - length)) / length))
            return final + (1 - final) * (1 - sqrt(v))


def auto_warmup(total_steps: int) -> int:
    """Steps of warmup for a run of this length."""
    return min(MOST_WARMUP_STEPS, int(WARMUP_SHARE * total_steps))


def auto_step_every(total_steps: int) -> int:
    """Steps between two drops, so that a run has two of them."""
    return max(1, -(-total_steps // 3))


def _warmup(knobs: AlgorithmKnobs, total_steps: int | None) -> int:
    if knobs.warmup_steps != "auto":
        return knobs.warmup_steps
    return UNKNOWN_WARMUP_STEPS if total_steps is None else auto_warmup(total_steps)


def _one_cycle(knobs: AlgorithmKnobs, step: int, total_steps: int) -> float:
    last = max(1, total_steps - 1)
    top = min(max(0.0, knobs.rise_share * total_steps - 1), last - 0.5)  # torch's turning point
    if step < top:
        low, u = CYCLE_START_SHARE, step / top
        return low + (1 - low) * (1 - cos(pi * u)) / 2
    u = min(1.0, (step - top) / (last - top))
    return knobs.final_share + (1 - knobs.final_share) * (1 + cos(pi * u)) / 2


@dataclass(slots=True, kw_only=True)
class Plateau:
    """Lowers the rate when the validation loss stops falling.

    `share` is multiplied by `factor`, down to `least`, once more than `patience` values in a row
    were no better than (1 - 1e-4) of the best. Not-a-number is never better.
    """

    factor: float
    patience: int
    least: float
    share: float = 1.0
    _best: float = inf
    _waited: int = 0

    def feed(self, value: float) -> None:
        """One look at the validation loss."""
        if value < self._best - LEAST_GAIN * abs(self._best) or (self._best == inf and value < inf):
            self._best, self._waited = value, 0
            return
        self._waited += 1
        if self._waited > self.patience:
            self.share = max(self.least, self.share * self.factor)
            self._waited = 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        best = None if self._best == inf else self._best
        return {"share": self.share, "best": best, "waited": self._waited}

    def load(self, state: dict[str, Any]) -> None:
        """Continues from `state()`."""
        self.share, self._waited = state["share"], state["waited"]
        self._best = inf if state["best"] is None else state["best"]


def build_plateau(knobs: AlgorithmKnobs) -> Plateau | None:
    """The plateau's memory, when the schedule has one."""
    if knobs.schedule != "plateau":
        return None
    return Plateau(
        factor=knobs.plateau_factor, patience=knobs.plateau_patience, least=knobs.final_share
    )
