"""What do rules look at? The facts and readings of one training program, and the few quantities
that many rules share: how much is lost, where the loss came from and goes to."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainwright.core.facts import Facts, LayerFacts
from trainwright.core.history import Curve, History

OPENING_STEPS = 20  # causes are seen here, before consequences blur them [assumed]
LEVEL_POINTS = 25  # of the loss curve, whose median is a level of it [assumed]
SOLVED = 0.98  # accuracy, or R2, at which nothing is left to gain [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class CannotTell:
    """A rule lacks this reading or fact."""

    missing: str


@dataclass(frozen=True, kw_only=True)
class Case:
    """One training program as it was seen, before the first step or after any number of them."""

    facts: Facts
    history: History

    # --- how good is it -------------------------------------------------------------------------

    @cached_property
    def achieved(self) -> float | None:
        """The trained model's score on held-out examples, else on those it learned from."""
        score = self.facts.score
        if score is None:
            return None
        return score.train if score.valid is None else score.valid

    @cached_property
    def possible(self) -> float | None:
        """The score that can be had. Where quick learners could not be tried, a training split that
        does not contradict itself can be learned by heart."""
        score, targets = self.facts.score, self.facts.targets
        if score is None:
            return None
        if score.reference is not None and not self._repeats_its_inputs:
            return max(score.reference, score.constant)
        if score.valid is None and targets is not None and targets.conflicting_share == 0:
            return 1.0
        return None

    @property
    def _repeats_its_inputs(self) -> bool:
        """The targets are the inputs, as an autoencoder's: any linear map has them, a bottleneck
        is not meant to."""
        score, head, inputs = self.facts.score, self.facts.head, self.facts.inputs
        if score is None or head is None or inputs is None or score.linear is None:
            return False
        alike = head.num_outputs > 1 and head.num_outputs == inputs.num_features
        return score.metric == "r2" and alike and score.linear > 0.999

    @cached_property
    def _score_room(self) -> float | None:
        """Score that can be had above the best constant answer's; None: next to nothing."""
        score, possible = self.facts.score, self.possible
        if score is None or possible is None:
            return None
        room = possible - score.constant
        return room if room >= max(0.02, 2 * (score.reference_sd or 0.0)) else None

    @cached_property
    def lost(self) -> float | None:
        """Share of what can be had above the best constant answer and was not reached, 0..1.

        None when it is not known, or when there is next to nothing to be had.
        """
        achieved, possible, score = self.achieved, self.possible, self.facts.score
        if achieved is None or possible is None or score is None:
            return self._lost_by_loss
        room = self._score_room
        if room is None:
            return None if achieved < possible - 0.05 else 0.0
        answers = score.train is not None and score.train > 0
        if score.metric == "r2" and achieved < 0 and not answers and self._fits_the_loss:
            return self._lost_by_loss  # outputs that are no answers yet: logits, log rates
        # Both are measurements, with standard errors: one-sided 95 % of their difference.
        error = float(np.hypot(score.reference_sd or 0.0, self._achieved_error))
        slack = min(1.64 * error, 0.3 * room)
        share = float(np.clip((possible - slack - achieved) / room, 0.0, 1.0))
        return max(share, self._unexplained(achieved, possible - slack))

    @cached_property
    def _achieved_error(self) -> float:
        """Standard error of an accuracy on the held-out examples."""
        score, achieved = self.facts.score, self.achieved
        if score is None or achieved is None or score.metric != "accuracy" or score.valid is None:
            return 0.0
        return float(np.sqrt(max(0.0, achieved * (1 - achieved)) / max(1, score.num_valid)))

    @property
    def _fits_the_loss(self) -> bool:
        """The loss itself went most of the way to its least."""
        loss, last = self.facts.loss, self.last_loss
        if loss is None or loss.perfect is None or last is None or self.room is None:
            return False
        return (last - loss.perfect) < 0.3 * self.room

    def _unexplained(self, achieved: float, possible: float) -> float:
        """For numbers without noise, R2 = 0.97 is far from done: how many times the variance that
        has to be left unexplained is left, as a loss of at most 0.15 [assumed]."""
        score = self.facts.score
        if score is None or score.metric != "r2" or achieved >= SOLVED:
            return 0.0
        times = (1 - achieved) / max(1 - possible, 1e-3)
        return float(np.clip(0.1 * np.log10(max(times, 1.0)), 0.0, 0.15)) if times > 3 else 0.0

    @cached_property
    def unfitted(self) -> float | None:
        """The same on the training examples: what was not even fitted, 0..1."""
        score, possible, room = self.facts.score, self.possible, self._score_room
        if score is None or score.train is None or possible is None or room is None:
            return self.lost
        return float(np.clip((possible - score.train) / room, 0.0, 1.0))

    @cached_property
    def _lost_by_loss(self) -> float | None:
        """The same from the loss: 1 where it is no better than that of constant outputs."""
        loss = self.facts.loss
        if self.last_loss is None or self.room is None or loss is None or loss.perfect is None:
            return None
        share = (self.last_loss - loss.perfect) / self.room
        return float(np.clip((share - 0.5) / 0.5, 0.0, 1.0)) if np.isfinite(share) else 1.0

    @cached_property
    def solved(self) -> bool:
        """Nothing worth gaining is left."""
        return self.lost is not None and self.lost < 0.03

    @cached_property
    def trained(self) -> bool:
        """At least one step was taken."""
        return self.history.num_steps > 0

    # --- the loss -------------------------------------------------------------------------------

    @cached_property
    def curve(self) -> Curve:
        """Finite losses over steps."""
        curve = self.history.loss
        good = np.isfinite(curve.values)
        return Curve(steps=curve.steps[good], values=curve.values[good])

    @cached_property
    def first_loss(self) -> float | None:
        """The first step's; what was probed before it, in another mode of dropout and norm layers,
        only where no step was taken."""
        if len(self.curve.values):
            return float(self.curve.values[0])
        probed = self.facts.loss.initial if self.facts.loss is not None else None
        return probed if probed is not None and np.isfinite(probed) else None

    @cached_property
    def last_loss(self) -> float | None:
        """The level at the end: infinite when the run ended in numbers that are none."""
        if self.history.first_nonfinite is not None:
            return float("inf")
        return self.level(len(self.curve.values))

    def level(self, end: int) -> float | None:
        """Median loss of the points before number `end`."""
        values = self.curve.values[:end]
        if not len(values):
            return None
        return float(np.median(values[-max(1, min(LEVEL_POINTS, len(values) // 4)) :]))

    @cached_property
    def room(self) -> float | None:
        """Loss between the best constant outputs and perfect ones; the unit of all progress."""
        loss = self.facts.loss
        if loss is not None and loss.prior is not None and loss.perfect is not None:
            room = loss.prior - loss.perfect
            return room if np.isfinite(room) and room > 0 else None
        return None

    @cached_property
    def progress(self) -> float | None:
        """Share of the way from the start to perfect that the loss has come; negative: it rose."""
        first, last, loss = self.first_loss, self.last_loss, self.facts.loss
        if first is None or last is None:
            return None
        perfect = loss.perfect if loss is not None and loss.perfect is not None else 0.0
        way = first - perfect
        return float((first - last) / way) if way > 1e-12 and np.isfinite(last) else None

    @cached_property
    def diverged(self) -> bool:
        """The loss left the numbers, or ended far above where it began."""
        if self.history.first_nonfinite is not None:
            return True
        first, last = self.first_loss, self.last_loss
        if first is None or last is None:
            return False
        unit = self.room if self.room is not None else abs(first)
        return last > first + 2 * max(unit, abs(first) * 0.5)

    @cached_property
    def slope(self) -> tuple[float, float] | None:
        """How the loss changes over the last third of the run: the change, as a share of what is
        left above perfect (negative: it falls), and its standard error in the same unit. Of the
        steps' losses or the epochs' means that the user told, whichever is known better."""
        told = self.history.train.get("loss")
        curves = [self.curve] if told is None else [self.curve, told]
        found = [slope for slope in map(self._slope_of, curves) if slope is not None]
        return min(found, key=lambda slope: slope[1], default=None)

    def _slope_of(self, curve: Curve) -> tuple[float, float] | None:
        good = (curve.steps > 2 / 3 * self.history.num_steps) & np.isfinite(curve.values)
        steps, values = curve.steps[good], curve.values[good]
        if len(values) < 6:
            return None
        loss = self.facts.loss
        floor = loss.perfect if loss is not None and loss.perfect is not None else 0.0
        left = float(np.median(values)) - floor
        if not np.isfinite(left) or left <= 1e-12:
            return None
        parts = np.array_split(np.arange(len(values)), min(10, len(values)))
        blocks = np.array([values[part].mean() for part in parts])
        at = np.array([steps[part].mean() for part in parts])
        x = (at - at.mean()) / (self.history.num_steps / 3)
        change = float(np.sum(x * blocks) / np.sum(x * x))
        rest = blocks - blocks.mean() - change * x
        error = float(np.sqrt(np.sum(rest**2) / max(1, len(blocks) - 2) / np.sum(x * x)))
        return change / left, error / left

    def late(self, share: float) -> Curve:
        """The losses after that share of the steps. Where hardly any step's was read there, fewer
        points must do, but not those of the beginning."""
        after = self.curve.steps > share * self.history.num_steps
        return Curve(steps=self.curve.steps[after], values=self.curve.values[after])

    @cached_property
    def improving(self) -> bool | None:
        """The loss is still falling at the end, beyond noise and worth waiting for."""
        if self.slope is None:
            return None
        change, error = self.slope
        return change < -0.02 and change < -3 * error

    # --- layers ---------------------------------------------------------------------------------

    @cached_property
    def steady(self) -> np.ndarray:
        """[L] of the history's layers: whose weights have a size of their own from the start,
        to compare an update with. Norm layers and branches that start at zero do not."""
        model = self.facts.model
        if model is None:
            return np.ones(len(self.history.layers), bool)
        firm = {x.name for x in model.layers
                if x.kind != "norm" and not x.residual_start and not x.constant}  # fmt: skip
        return np.array([name in firm for name in self.history.layers], bool)

    @cached_property
    def hidden(self) -> tuple[LayerFacts, ...]:
        """Layers that hold weights, without the last."""
        model = self.facts.model
        weights = [x for x in model.layers if x.kind != "norm"] if model is not None else []
        return tuple(weights[:-1])

    @cached_property
    def update_ratio(self) -> np.ndarray | None:
        """[T, L] of update norm over weight norm; NaN for a layer that starts at zero."""
        update, weight = self.history.layer("update_norm"), self.history.layer("weight_norm")
        if update is None or weight is None:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(weight > 1e-8, update / weight, np.nan)

    @cached_property
    def opening(self) -> np.ndarray:
        """Which of the sampled steps belong to the opening."""
        return self.history.steps <= OPENING_STEPS

    @cached_property
    def lost_in_eval(self) -> float | None:
        """How much of the last batches' score eval mode loses; None where that is not known."""
        batches, score = self.history.step("batch_score"), self.facts.score
        if score is None or score.train is None or batches is None or len(batches) <= 7:
            return None
        return float(np.nanmean(batches[-2:])) - score.train

    def last_of(self, name: str) -> np.ndarray | None:
        """[L], the newest value of a layer reading that is a number; NaN where there is none."""
        values = self.history.layer(name)
        if values is None or not len(values):
            return None
        return newest(values)


def newest(values: np.ndarray) -> np.ndarray:
    """[L], from [T, L]: the last value of each column that is not NaN."""
    found = np.full(values.shape[1], np.nan)
    for row in values:
        found = np.where(np.isnan(row), found, row)
    return found


def medians(values: np.ndarray) -> np.ndarray:
    """[L], from [T, L]: the median of each column over what is a number; NaN where nothing is."""
    found = np.full(values.shape[1], np.nan)
    known = np.isfinite(values).any(axis=0)
    if known.any():
        found[known] = np.nanmedian(np.where(np.isfinite(values), values, np.nan)[:, known], axis=0)
    return found


def first_step_above(history: History, values: np.ndarray, threshold: float) -> int | None:
    """The first sampled step at which a [T] or [T, L] reading is above the threshold."""
    above = np.nan_to_num(values, nan=-np.inf) > threshold
    hits = np.flatnonzero(above if above.ndim == 1 else above.any(axis=1))
    return int(history.steps[hits[0]]) if len(hits) else None
