"""Which points does a playground draw? Families in the plane whose difficulty is known, with noise,
wrong labels and imbalance on demand."""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy.random import Generator

from trainwright.core.errors import DataError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.core.seeds import derive
from trainwright.data.knobs import DataKnobs

RADIUS = 5.0  # half the side of the playground's square
Points = tuple[
    Float64[np.ndarray, "example 2"],
    Int64[np.ndarray, " example"] | Float64[np.ndarray, " example"],
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """Examples ready to be split: `target` is an index into `class_names`, or a number when there
    are none (regression)."""

    features: Float32[np.ndarray, "example feature"]
    target: Int64[np.ndarray, " example"] | Float64[np.ndarray, " example"]
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    target_name: str = "target"


def load(source: str, knobs: DataKnobs, seed: int) -> Arrays:
    """The family named by `synthetic:NAME`; a pure function of its arguments.

    data.noise moves the points of classes (of regressions: the points as the target sees them),
    data.label_noise redraws that share of the targets, data.imbalance is the first class's share
    in families of two.

    Raises DataError for an unknown family.
    """
    name = source.removeprefix("synthetic:").strip().lower().replace("-", "_")
    if name not in FAMILIES:
        raise DataError(
            phrase("there is no synthetic source {name}", name=shown(name)),
            allowed=", ".join(FAMILIES),
            do=did_you_mean(name, FAMILIES),
        )
    random = np.random.default_rng(derive(seed, "synthetic", name))
    family, classes = FAMILIES[name], CLASSES.get(name, ())
    points, target = family(_sizes(knobs, len(classes)), knobs.noise, random)
    order = random.permutation(len(points))
    points, target = points[order], target[order]
    redrawn = random.random(len(target)) < knobs.label_noise
    if classes:
        target = np.where(redrawn, random.integers(0, len(classes), len(target)), target)
    else:
        target = np.where(redrawn, random.permutation(target), target)
    return Arrays(
        features=points.astype(np.float32),
        target=target,
        feature_names=("x1", "x2"),
        class_names=classes,
    )


def gauss(sizes: list[int], noise: float, random: Generator) -> Points:
    """Two round clouds at (-2, -2) and (2, 2), variance 1/2 + (noise R)^2 on each axis.

    Source: TensorFlow Playground, dataset.ts, classifyTwoGaussData (variance 1/2 without noise).
    """
    target = _labels(sizes)
    centre = np.where(target == 0, -2.0, 2.0)[:, None]
    spread = np.sqrt(0.5 + (noise * RADIUS) ** 2)
    return centre + spread * random.standard_normal((len(target), 2)), target


def circle(sizes: list[int], noise: float, random: Generator) -> Points:
    """Class 0 in a ring, radius uniform in [0.7 R, R]; class 1 in its hole, in [0, 0.5 R].

    Source: TensorFlow Playground, dataset.ts, classifyCircleData.
    """
    target = _labels(sizes)
    share = random.random(len(target))
    radius = RADIUS * np.where(target == 0, 0.7 + 0.3 * share, 0.5 * share)
    angle = random.random(len(target)) * 2 * pi
    return _scattered(
        radius * np.sin(angle), radius * np.cos(angle), noise * RADIUS, random, target
    )


def xor(sizes: list[int], noise: float, random: Generator) -> Points:
    """Class 1 where x1 x2 > 0, class 0 where x1 x2 < 0; uniform in 0.3 <= |x| <= R.

    Source: TensorFlow Playground, dataset.ts, classifyXORData (a gap of 0.3 about the axes).
    """
    target = _labels(sizes)
    size = 0.3 + (RADIUS - 0.3) * random.random((len(target), 2))
    sign = np.where(random.random(len(target)) < 0.5, -1.0, 1.0)
    other = np.where(target == 1, sign, -sign)
    return _scattered(size[:, 0] * sign, size[:, 1] * other, noise * RADIUS, random, target)


def spiral(sizes: list[int], noise: float, random: Generator) -> Points:
    """Two arms: radius r = R s, angle 3.5 pi s (+ pi for class 1), s evenly spaced in [0, 1).

    Source: TensorFlow Playground, dataset.ts, classifySpiralData (1.75 turns).
    """
    target = _labels(sizes)
    share = np.concatenate([np.arange(size) / size for size in sizes])
    angle = 1.75 * 2 * pi * share + pi * target
    x, y = RADIUS * share * np.sin(angle), RADIUS * share * np.cos(angle)
    return _scattered(x, y, noise * RADIUS, random, target)


def moons(sizes: list[int], noise: float, random: Generator) -> Points:
    """Interleaved half circles of radius 1: (cos t, sin t) and (1 - cos t, 1/2 - sin t), t
    uniform in [0, pi]; with three classes the third is (2 + cos t, sin t).

    Source: scikit-learn, make_moons (two of them).
    """
    target = _labels(sizes)
    t = random.random(len(target)) * pi
    x = np.choose(target, [np.cos(t), 1 - np.cos(t), 2 + np.cos(t)])
    y = np.choose(target, [np.sin(t), 0.5 - np.sin(t), np.sin(t)])
    return _scattered(x, y, noise, random, target)


def plane(sizes: list[int], noise: float, random: Generator) -> Points:
    """Regression, target (x1 + x2) / 10 of points uniform in the square of half side R.

    Source: TensorFlow Playground, dataset.ts, regressPlane.
    """
    points = random.uniform(-RADIUS, RADIUS, (sum(sizes), 2))
    seen = points + noise * RADIUS * random.standard_normal(points.shape)
    return points, seen.sum(axis=1) / 10


def multi_gauss(sizes: list[int], noise: float, random: Generator) -> Points:
    """Regression: six hills of sign +-1 at x1 in {-4, 0, 4}, x2 in {-2.5, 2.5}, each falling
    linearly from its centre to 0 at distance 2; the largest in size counts.

    Source: TensorFlow Playground, dataset.ts, regressGaussian.
    """
    hills = np.array([(-4, 2.5), (0, 2.5), (4, 2.5), (-4, -2.5), (0, -2.5), (4, -2.5)])
    signs = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    points = random.uniform(-RADIUS, RADIUS, (sum(sizes), 2))
    seen = points + noise * RADIUS * random.standard_normal(points.shape)
    distance = np.linalg.norm(seen[:, None] - hills, axis=2)
    height = np.clip(1 - distance / 2, 0, 1)
    highest = height.argmax(axis=1)
    return points, signs[highest] * height[np.arange(len(points)), highest]


FAMILIES: dict[str, Callable[[list[int], float, Generator], Points]] = {
    "gauss": gauss, "circle": circle, "xor": xor, "spiral": spiral, "moons": moons,
    "three_moons": moons, "plane": plane, "multi_gauss": multi_gauss,
}  # fmt: skip
_TWO = ("orange", "blue")  # the playground's colours
CLASSES: dict[str, tuple[str, ...]] = {
    "gauss": _TWO, "circle": _TWO, "xor": _TWO, "spiral": _TWO, "moons": _TWO,
    "three_moons": (*_TWO, "green"),
}  # fmt: skip


def _sizes(knobs: DataKnobs, num_classes: int) -> list[int]:
    """Examples of each class, at least one."""
    num = knobs.num_examples
    if num_classes == 2:
        first = min(num - 1, max(1, round(num * knobs.imbalance)))
        return [first, num - first]
    parts = max(1, num_classes)
    return [num // parts + (part < num % parts) for part in range(parts)]


def _labels(sizes: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(sizes)), sizes)


def _scattered(
    x: np.ndarray, y: np.ndarray, spread: float, random: Generator, target: np.ndarray
) -> Points:
    points = np.stack([x, y], axis=1)
    return points + spread * random.standard_normal(points.shape), target
