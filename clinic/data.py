"""Which data do the programs learn? Small real sets that ship with scikit-learn and synthetic ones,
split and standardised by a seed, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor

Task = Literal["classes", "binary", "numbers"]
VALID_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """X, Xv [example, …] float32; y, yv int64 classes, or float32 [example, 1] (binary, numbers)."""

    X: Tensor
    y: Tensor
    Xv: Tensor
    yv: Tensor
    task: Task
    num_outputs: int


def load(name: str, seed: int) -> Data:
    """The set `name`, drawn (synthetic) and split by `seed`; inputs standardised on the train part."""
    x, y, task = SETS[name](np.random.default_rng(seed))
    order = np.random.default_rng(seed + 1).permutation(len(x))
    x, y = x[order].astype(np.float32), y[order]
    cut = int(len(x) * (1 - VALID_SHARE))
    axis = (0,) if x.ndim == 2 and name in TABLES else None
    mean, sd = x[:cut].mean(axis), x[:cut].std(axis) + 1e-6
    x = (x - mean) / sd
    if task == "numbers":
        y = ((y - y[:cut].mean()) / y[:cut].std())[:, None]
    elif task == "binary":
        y = y[:, None]
    targets = torch.from_numpy(y.astype(np.int64 if task == "classes" else np.float32))
    inputs = torch.from_numpy(x.astype(np.float32))
    outputs = int(targets.max()) + 1 if task == "classes" else 1
    return Data(
        X=inputs[:cut], y=targets[:cut], Xv=inputs[cut:], yv=targets[cut:], task=task, num_outputs=outputs
    )  # fmt: skip


Drawn = tuple[np.ndarray, np.ndarray, Task]


@cache
def _shipped(name: str) -> tuple[np.ndarray, np.ndarray]:
    bunch = getattr(datasets, f"load_{name}")()
    return bunch.data, bunch.target


def _digits(rng: np.random.Generator) -> Drawn:
    x, y = _shipped("digits")
    return x, y, "classes"


def _digits_odd(rng: np.random.Generator) -> Drawn:
    """Odd or even: one output, ten clusters."""
    x, y = _shipped("digits")
    return x, y % 2, "binary"


def _digits_noisy(rng: np.random.Generator) -> Drawn:
    """Is it a digit of 5 and above, under strong noise? Irreducibly uncertain, about 80 % at best."""
    x, y = _shipped("digits")
    return x / 6 + rng.normal(0, 1.5, x.shape), y >= 5, "binary"


def _digits_centre(rng: np.random.Generator) -> Drawn:
    """Is it one of 5, 8, 9, by the nine pixels of the middle alone? They overlap, and cannot be
    learned by heart."""
    x, y = _shipped("digits")
    middle = np.zeros((8, 8))
    middle[2:5, 2:5] = 1
    x = ((x - 5) / 6 + rng.normal(0, 0.6, x.shape)) * middle.ravel()
    return x, np.isin(y, (5, 8, 9)), "binary"


def _digits_flipped(rng: np.random.Generator) -> Drawn:
    """Each image times a random sign: nothing linear can read it."""
    x, y = _shipped("digits")
    x = (x - x.mean()) / x.std()
    return x * rng.choice([-1.0, 1.0], (len(x), 1)), y, "classes"


def _digits_ink(rng: np.random.Generator) -> Drawn:
    """Regression on images: a smooth, curved function of where the ink lies, with a little noise."""
    x, _ = _shipped("digits")
    image = x.reshape(-1, 8, 8) / 16
    rows, columns = image.mean(2), image.mean(1)
    middle = (rows * np.arange(8)).sum(1) / rows.sum(1)
    spread = columns.std(1)
    y = np.sin(middle * 2) + 4 * spread * middle + rng.normal(0, 0.1, len(x))
    return x, y, "numbers"


def _table(name: str, task: Task) -> Callable[[np.random.Generator], Drawn]:
    def draw(rng: np.random.Generator) -> Drawn:
        x, y = _shipped(name)
        return x, y, task

    return draw


def _friedman(rng: np.random.Generator) -> Drawn:
    x, y = datasets.make_friedman1(1500, noise=0.5, random_state=int(rng.integers(1 << 31)))
    return np.asarray(x), np.asarray(y), "numbers"


def _friedman_noisy(rng: np.random.Generator) -> Drawn:
    """200 examples of 20 features, half of the variance noise: a large net learns it by heart."""
    x, y = datasets.make_friedman1(
        266, n_features=20, noise=4.0, random_state=int(rng.integers(1 << 31))
    )
    return np.asarray(x), np.asarray(y), "numbers"


def _rings(rng: np.random.Generator) -> Drawn:
    """Inside or outside a sphere of six dimensions: no linear map separates it."""
    x = rng.normal(size=(1600, 6))
    return x, (np.square(x).sum(1) > 5.35), "binary"


def _spirals(rng: np.random.Generator) -> Drawn:
    arm = rng.integers(0, 3, 1500)
    t = np.sqrt(rng.uniform(0.02, 1, 1500))
    angle = t * 5 + arm * 2 * np.pi / 3
    x = np.stack([t * np.cos(angle), t * np.sin(angle)], 1) + rng.normal(0, 0.03, (1500, 2))
    return x, arm, "classes"


def _moons(rng: np.random.Generator) -> Drawn:
    x, y = datasets.make_moons(1200, noise=0.2, random_state=int(rng.integers(1 << 31)))
    return np.asarray(x), np.asarray(y), "binary"


def _blobs(rng: np.random.Generator) -> Drawn:
    """Five classes that overlap: irreducible noise."""
    x, y = datasets.make_classification(
        1600, 20, n_informative=8, n_classes=5, n_clusters_per_class=1, class_sep=1.2,
        flip_y=0.1, random_state=int(rng.integers(1 << 31)),
    )  # fmt: skip
    return np.asarray(x), np.asarray(y), "classes"


def _clean_blobs(rng: np.random.Generator) -> Drawn:
    """Two classes far apart."""
    x, y, *_ = datasets.make_blobs(800, 10, centers=2, random_state=int(rng.integers(1 << 31)))
    return np.asarray(x), np.asarray(y), "binary"


def _linear(rng: np.random.Generator) -> Drawn:
    x = rng.normal(size=(1200, 8))
    return x, x @ rng.normal(size=8) + rng.normal(0, 0.3, 1200), "numbers"


def _heavy(rng: np.random.Generator) -> Drawn:
    """A nonlinear function with Student noise of three degrees of freedom."""
    x = rng.normal(size=(1500, 6))
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.3 * rng.standard_t(3, 1500)
    return x, y, "numbers"


def _waves(rng: np.random.Generator) -> Drawn:
    """Sequences of 24 steps by 2 channels: which of four frequencies is under the noise?"""
    which = rng.integers(0, 4, 1400)
    time, phase = np.arange(24), rng.uniform(0, 6.28, (1400, 1))
    angle = phase + time * (0.35 + 0.4 * which[:, None])
    x = np.stack([np.sin(angle), np.cos(angle)], 2) + rng.normal(0, 0.6, (1400, 24, 2))
    return x, which, "classes"


def _first_sign(rng: np.random.Generator) -> Drawn:
    """Sequences of 16 steps whose label is the sign of the first value: long memory."""
    x = rng.normal(size=(1600, 16, 2))
    x[:, 0, 0] = np.sign(x[:, 0, 0]) * (1 + np.abs(x[:, 0, 0]))
    return x, x[:, 0, 0] > 0, "binary"


def _sums(rng: np.random.Generator) -> Drawn:
    """Sequences of 12 steps by 2 channels: the sum of channel 0 where channel 1 is positive."""
    x = rng.normal(size=(1500, 12, 2))
    return x, (x[:, :, 0] * (x[:, :, 1] > 0)).sum(1) + rng.normal(0, 0.2, 1500), "numbers"


TABLES = frozenset({"breast_cancer", "wine", "iris", "diabetes", "friedman", "friedman_noisy", "heavy", "blobs"})  # fmt: skip
SETS: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "digits": _digits,
    "digits_odd": _digits_odd,
    "digits_noisy": _digits_noisy,
    "digits_centre": _digits_centre,
    "digits_flipped": _digits_flipped,
    "digits_ink": _digits_ink,
    "breast_cancer": _table("breast_cancer", "binary"),
    "wine": _table("wine", "classes"),
    "iris": _table("iris", "classes"),
    "diabetes": _table("diabetes", "numbers"),
    "friedman": _friedman,
    "friedman_noisy": _friedman_noisy,
    "rings": _rings,
    "spirals": _spirals,
    "moons": _moons,
    "blobs": _blobs,
    "clean_blobs": _clean_blobs,
    "linear": _linear,
    "heavy": _heavy,
    "waves": _waves,
    "first_sign": _first_sign,
    "sums": _sums,
}
