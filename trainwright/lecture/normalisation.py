"""Does a norm make a deep sigmoid network trainable, and which norm bears a batch of two? Batch,
layer, instance and group norm in nets that do not learn without, and a crossing of two of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainwright.core.claims import ClaimVerdict, Measured, Picture, Series
from trainwright.core.stats import Interval
from trainwright.lecture import depth
from trainwright.lecture.claim import Pace, verdict_of_all, verdict_within
from trainwright.lecture.training import digit_images, mean_interval, recipe_of, trained

RATE = 0.03  # C08's net does not learn at it, nor at 0.3 and 3 [measured: C08]
STEPS = "150 steps"
NORMS = ("batch", "layer", "group")
# Behind the sigmoid: its outputs lie about 0.5, and a norm in front of the next one, which sees the
# same large offset in every example, leaves it there [measured: C12, `*_in_front`].
BEHIND = {"model.norm_position": "after_activation"}
IN_FRONT = {"model.norm_position": "before_activation"}
MARGIN = 0.02  # of accuracy: group norm's loss at 32 stays within it [assumed]
SIZES = (2, 32)
CROSSINGS = 2  # for each rescue: a difference is no larger than its spread [measured: seeds 100+]
RESCUE_SHARE = 0.4  # of the time, for the bar
DEEP: Mapping[str, Any] = {
    **depth.SETTINGS, "algorithm.learning_rate": RATE, "budget": STEPS,
}  # fmt: skip
PICTURES: Mapping[str, Any] = {
    "model.name": "convnet", "loss.name": "cross_entropy", "data.augment": "none",
    "data.valid_fraction": 0.0, "data.test_fraction": 0.3, "algorithm.keep": "last",
    "algorithm.precision": "float32",
}  # fmt: skip
# Single units have no positions: instance norm is put to C08's net with convolutions for layers.
DEEP_CONVNET: Mapping[str, Any] = {
    **DEEP, **PICTURES, "model.depth": 8, "model.width": 4, "model.pool": 1, "model.stride": 2,
}  # fmt: skip
# Maps of 2 by 2: a batch of two gives batch norm eight values for each channel.
SMALL_CONVNET: Mapping[str, Any] = {
    **PICTURES, "model.depth": 3, "model.width": 32, "model.pool": 4, "budget": "2000 examples",
    "data.test_fraction": 0.5,
}  # fmt: skip
# The square-root rule for Adam [paper: Malladi et al. 2022, arXiv:2205.10287].
RATES = {2: 0.001, 32: 0.004}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescue:
    """One seed's shares of training rows right: `without` any norm by net ("mlp", "convnet"),
    `behind` and `in_front` of the sigmoid by norm."""

    without: Mapping[str, float]
    behind: Mapping[str, float]
    in_front: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """One seed's accuracy on test rows of either norm, by batch size."""

    batch: Mapping[int, float]
    group: Mapping[int, float]


def measure_c12(pace: Pace) -> Measured:
    """A seed is a split, a start and an order, the same for every norm. That nets learn is plain
    to see; two norms differ by little, so that the crossing takes more seeds, and always as many:
    with those that fitted the time, the verdict went with the machine."""
    rescues: list[Rescue] = []
    crossings: list[Crossing] = []
    for seed in range(pace.seeds):
        rescues.append(rescue(seed))
        pace.tell(RESCUE_SHARE * (seed + 1) / pace.seeds)
    most = CROSSINGS * pace.seeds
    for seed in range(most):
        crossings.append(crossing(seed))
        pace.tell(RESCUE_SHARE + (1 - RESCUE_SHARE) * (seed + 1) / most)
    return judged(rescues, crossings)


def rescue(seed: int) -> Rescue:
    """C08's net and its convolutional twin, without a norm and with each."""

    def share(settings: Mapping[str, Any], norm: str, position: Mapping[str, Any]) -> float:
        live = digit_images() if settings["model.name"] == "convnet" else None
        turned = {**settings, "model.norm": norm, **position}
        return _known(trained(recipe_of(turned, seed, live=live)).metric("accuracy", "train"))

    return Rescue(
        without={"mlp": share(DEEP, "none", {}), "convnet": share(DEEP_CONVNET, "none", {})},
        behind={**{norm: share(DEEP, norm, BEHIND) for norm in NORMS},
                "instance": share(DEEP_CONVNET, "instance", BEHIND)},
        in_front={norm: share(DEEP, norm, IN_FRONT) for norm in ("batch", "layer")},
    )  # fmt: skip


def crossing(seed: int) -> Crossing:
    """Equal examples seen, two epochs, in batches of either size."""
    images = digit_images()

    def accuracy(norm: str, size: int) -> float:
        settings = {**SMALL_CONVNET, "model.norm": norm, "algorithm.batch_size": size,
                    "algorithm.learning_rate": RATES[size]}  # fmt: skip
        return _known(trained(recipe_of(settings, seed, live=images)).metric("accuracy"))

    return Crossing(batch={size: accuracy("batch", size) for size in SIZES},
                    group={size: accuracy("group", size) for size in SIZES})  # fmt: skip


def _known(share: float) -> float:
    """A run that failed got nothing right."""
    return 0.0 if math.isnan(share) else share


def judged(rescues: Sequence[Rescue], crossings: Sequence[Crossing]) -> Measured:
    """Holds when every norm ends above LEARNED where the net without does not learn, group norm is
    ahead at a batch of two, and behind by less than MARGIN at 32; at 32 it differs when group norm
    is behind for sure, be it by little. Undecided when a net learns without a norm."""
    small = [one.group[2] - one.batch[2] for one in crossings]
    rescued: list[ClaimVerdict] = [verdict_within(mean_interval([r.behind[norm] for r in rescues]),
                              (depth.LEARNED, math.inf)) for norm in rescues[0].behind]  # fmt: skip
    parts = (
        *rescued,
        verdict_within(mean_interval(small), (0.0, math.inf)),
        not_behind(mean_interval([one.group[32] - one.batch[32] for one in crossings])),
    )  # fmt: skip
    ill = all(mean_interval([r.without[net] for r in rescues])[1] < depth.NOT_LEARNED
              for net in rescues[0].without)  # fmt: skip
    return Measured(verdict=verdict_of_all(parts) if ill else "undecided",
                    effect=float(np.mean(small)), interval=mean_interval(small), n=len(crossings),
                    values=_values(rescues, crossings), pictures=_pictures(rescues, crossings),
                    notes=_notes(rescues))  # fmt: skip


def not_behind(difference: Interval) -> ClaimVerdict:
    """Of group norm less batch norm at 32."""
    low, high = difference
    if high < 0:
        return "differs"
    return "holds" if low > -MARGIN else "undecided"


def _values(rescues: Sequence[Rescue], crossings: Sequence[Crossing]) -> dict[str, float | str]:
    found: dict[str, float | str] = {"margin": MARGIN}
    for norm in rescues[0].behind:
        found[norm] = float(np.mean([one.behind[norm] for one in rescues]))
    for net in rescues[0].without:
        found[f"without_{net}"] = float(np.mean([one.without[net] for one in rescues]))
    for norm in rescues[0].in_front:
        found[f"{norm}_in_front"] = float(np.mean([one.in_front[norm] for one in rescues]))
    for size in SIZES:
        found[f"batch_{size}"] = float(np.mean([one.batch[size] for one in crossings]))
        found[f"group_{size}"] = float(np.mean([one.group[size] for one in crossings]))
    large = mean_interval([one.group[32] - one.batch[32] for one in crossings])
    return {**found, "large_low": large[0], "large_high": large[1]}


def _notes(rescues: Sequence[Rescue]) -> tuple[str, ...]:
    """That the place of the norm matters, where it was seen to."""
    low = mean_interval([one.behind["layer"] - one.in_front["layer"] for one in rescues])[0]
    return ("lecture.note.norm_place",) if low > 0 else ()


def _pictures(rescues: Sequence[Rescue], crossings: Sequence[Crossing]) -> tuple[Picture, ...]:
    sizes = tuple(float(size) for size in SIZES)
    series = []
    for norm in ("batch", "group"):
        rows = np.array([[getattr(one, norm)[size] for size in SIZES] for one in crossings])
        series.append(Series(name=f"lecture.series.{norm}_norm", x=sizes,
                             y=tuple(rows.mean(0).tolist()), low=tuple(rows.min(0).tolist()),
                             high=tuple(rows.max(0).tolist())))  # fmt: skip
    cross = Picture(x="lecture.axis.batch_size", y="lecture.axis.accuracy", series=tuple(series),
                    log_x=True)  # fmt: skip
    return (cross, _rescue_picture(rescues))


def _rescue_picture(rescues: Sequence[Rescue]) -> Picture:
    """Training rows right by seed, each norm and none."""
    seeds = tuple(float(seed) for seed in range(len(rescues)))
    series = [
        Series(name=f"lecture.series.{norm}_norm", x=seeds, dots=True,
               y=tuple(one.behind[norm] for one in rescues))
        for norm in rescues[0].behind
    ]  # fmt: skip
    series.append(Series(name="lecture.series.no_norm", x=seeds, dots=True,
                         y=tuple(one.without["mlp"] for one in rescues)))  # fmt: skip
    return Picture(x="lecture.axis.seed", y="lecture.axis.train_accuracy", series=tuple(series))
