"""How are the data spoilt? D101-D111, by operations on the tensors that a user hands over."""

from collections.abc import Callable

import torch
from torch import Tensor

from clinic.fault import Fault, both, built_with, choosing, per_base
from clinic.program import Built

FOUR = ("digits_mlp", "digits_convnet", "digits_gru", "digits_functional")
FOUR_SGD = ("digits_mlp_sgd", "digits_convnet_sgd", "digits_gru_sgd", "digits_functional_sgd")
ODD = ("odd_mlp", "odd_convnet", "odd_gru", "odd_functional")
REAL = ("friedman_mlp", "ink_convnet", "sums_gru", "friedman_functional")
REAL_SGD = ("friedman_mlp_sgd", "ink_convnet_sgd", "sums_gru_sgd", "friedman_functional_sgd")
CENTRE = ("centre_mlp", "centre_convnet", "centre_functional")

LONG = {"mlp": {"steps": 2000}, "functional": {"steps": 2000}, "convnet": {"steps": 800}, "gru": {"steps": 500}}  # fmt: skip


def _classes(y: Tensor) -> Tensor:
    return y if y.dtype == torch.int64 else (y.flatten() > 0).long()


def unscaled(built: Built) -> None:
    """Times 255, plus 1000: pixels of a sensor with a large offset."""
    built.X, built.Xv = built.X * 255 + 1000, built.Xv * 255 + 1000


def decades(built: Built) -> None:
    """Features in units of their own: scales over six decades, with offsets of the same size."""
    shape = built.X.shape[1:]
    scale = 10 ** torch.empty(shape).uniform_(-2, 4)
    offset = scale * torch.empty(shape).uniform_(0, 3)
    built.X, built.Xv = built.X * scale + offset, built.Xv * scale + offset


def scaled_twice(built: Built) -> None:
    """To 0..1 and then divided by 255 once more."""
    low, high = built.X.min(), built.X.max()
    built.X, built.Xv = ((x - low) / (high - low) / 255 for x in (built.X, built.Xv))


def other_statistics(built: Built) -> None:
    """Validation data go into the network as they came, training data standardised."""
    built.Xv = built.Xv * 6 + 5


def unscaled_target(built: Built) -> None:
    """Prices in full: mean 200 000, sd 80 000."""
    built.y, built.yv = built.y * 8e4 + 2e5, built.yv * 8e4 + 2e5


def unscaled_target_mild(built: Built) -> None:
    """Mean 300, sd 100: squared error in the ten thousands."""
    built.y, built.yv = built.y * 100 + 300, built.yv * 100 + 300


def noisy_labels(share: float) -> Callable[[Built], None]:
    """`share` of all labels drawn anew; the test data stay clean."""

    def plant(built: Built) -> None:
        built.truth = (built.Xv, built.yv)
        built.y, built.yv = (_redrawn(y, share) for y in (built.y, built.yv))

    return plant


def _redrawn(y: Tensor, share: float) -> Tensor:
    drawn = y[torch.randperm(len(y))]
    chosen = (torch.rand(len(y)) < share).reshape(-1, *[1] * (y.ndim - 1))
    return torch.where(chosen, drawn, y)


def shuffled_labels(built: Built) -> None:
    """Targets in an order of their own."""
    built.truth = (built.Xv, built.yv)
    built.y, built.yv = (y[torch.randperm(len(y))] for y in (built.y, built.yv))


def shifted_labels(built: Built) -> None:
    """A join that is off by one row."""
    built.truth = (built.Xv, built.yv)
    built.y, built.yv = built.y.roll(1, 0), built.yv.roll(1, 0)


def one_class(built: Built) -> None:
    """Every label the same."""
    built.truth = (built.Xv, built.yv)
    built.y, built.yv = (torch.full_like(y, y[0].item()) for y in (built.y, built.yv))


def out_of_range(built: Built) -> None:
    """Classes 1..C where 0..C-1 are wanted; 1 and 2 where 0 and 1 are."""
    built.truth = (built.Xv, built.yv)
    built.y, built.yv = built.y + 1, built.yv + 1


def missing_targets(built: Built) -> None:
    """Three per cent of the targets are NaN."""
    rows = torch.randperm(len(built.y))[: max(2, len(built.y) // 33)]
    built.y = built.y.clone()
    built.y[rows] = float("nan")


def rare(built: Built) -> None:
    """97 : 3 in training and validation; the test data keep both classes."""
    built.truth = (built.Xv, built.yv)
    for name, target in (("X", "y"), ("Xv", "yv")):
        x, y = getattr(built, name), getattr(built, target)
        positive = (y.flatten() > 0).nonzero()[:, 0]
        negative = (y.flatten() <= 0).nonzero()[:, 0]
        keep = positive[: max(2, int(0.031 * len(negative)))]
        rows = torch.cat([negative, keep])[torch.randperm(len(negative) + len(keep))]
        setattr(built, name, x[rows])
        setattr(built, target, y[rows])


def repeated_across(built: Built) -> None:
    """60 % of the validation rows are training rows, and a fifth of all labels is noise: learning
    by heart pays on them."""
    built.truth = (built.Xv, built.yv)
    built.y, noisy = _redrawn(built.y, 0.3), _redrawn(built.yv, 0.3)
    count = int(0.6 * len(built.Xv))
    rows = torch.randperm(len(built.X))[:count]
    built.Xv = torch.cat([built.X[rows], built.Xv[count:]])
    built.yv = torch.cat([built.y[rows], noisy[count:]])


def leaked_label(built: Built) -> None:
    """The first feature is the label (in training and validation, not in the world)."""
    built.truth = (built.Xv.clone(), built.yv)
    labels = [y.float().flatten() for y in (built.y, built.yv)]
    mean, sd = labels[0].mean(), labels[0].std()
    for x, label in zip((built.X, built.Xv), labels, strict=True):
        x.flatten(1)[:, 0] = 3 * (label - mean) / sd + 0.01 * torch.randn(len(x))


def sorted_by_class(built: Built) -> None:
    """File order by class, and nobody shuffles."""
    order = _classes(built.y).argsort(stable=True)
    built.X, built.y, built.shuffle = built.X[order], built.y[order], False


def class_missing(built: Built) -> None:
    """A split by file position: three classes are only in validation."""
    keep = _classes(built.y) < 7
    built.X, built.y = built.X[keep], built.y[keep]


def few_examples(built: Built) -> None:
    """60 training examples are all there is."""
    built.X, built.y = built.X[:60], built.y[:60]
    built.batch_size = 20


def few_rows(built: Built) -> None:
    """25 training examples."""
    built.X, built.y = built.X[:25], built.y[:25]
    built.batch_size = 25


def nan_row(built: Built) -> None:
    """One value of one row is NaN."""
    built.X = built.X.clone()
    built.X[len(built.X) // 3].view(-1)[1] = float("nan")


def outlier_rows(built: Built) -> None:
    """Three rows are ten thousand times too large."""
    built.X = built.X.clone()
    built.X[torch.randperm(len(built.X))[:3]] *= 1e4


FAULTS: tuple[Fault, ...] = (
    Fault(code="D101", kind="offset", on=("digits_mlp_sgd", "digits_convnet_sgd", "digits_rnn_sgd", "digits_functional_sgd", "digits_mlp"), plant=unscaled),
    Fault(code="D101", kind="decades", on=("friedman_mlp", "cancer_mlp", "sums_gru", "friedman_functional"), plant=decades),
    Fault(code="D102", kind="twice", on=("digits_mlp_sgd", "digits_convnet_sgd", "digits_functional_sgd", "digits_gru_sgd"), plant=scaled_twice),
    Fault(code="D102", kind="shift", on=("friedman_mlp", "digits_convnet", "digits_gru", "friedman_functional", "sums_gru"), plant=other_statistics),
    Fault(code="D103", kind="unscaled", on=REAL, plant=unscaled_target),
    Fault(code="D103", kind="mild", on=REAL_SGD, plant=unscaled_target_mild),
    Fault(code="D104", kind="noise_40", on=FOUR, change=both(built_with(width=128), per_base(LONG)), plant=noisy_labels(0.4)),
    Fault(code="D104", kind="noise_60", on=FOUR_SGD, change=choosing(steps=800), plant=noisy_labels(0.6)),
    Fault(code="D105", kind="shuffled", on=(*FOUR, "digits_encoder"), plant=shuffled_labels),
    Fault(code="D105", kind="shifted", on=("odd_mlp", "friedman_mlp", "sums_gru", "digits_convnet_sgd"), plant=shifted_labels),
    Fault(code="D106", kind="one_class", on=FOUR, plant=one_class),
    Fault(code="D106", kind="constant_target", on=REAL, plant=one_class),
    Fault(code="D106", kind="out_of_range", on=FOUR, plant=out_of_range),
    Fault(code="D106", kind="one_and_two", on=("odd_mlp", "odd_convnet", "odd_gru", "odd_functional"), plant=out_of_range),
    Fault(code="D106", kind="missing", on=REAL, plant=missing_targets),
    Fault(code="D107", kind="rare", on=CENTRE, plant=rare),
    Fault(code="D108", kind="duplicates", on=("digits_mlp", "digits_convnet", "digits_functional"), change=both(choosing(steps=1500), built_with(width=128)), plant=repeated_across),
    Fault(code="D108", kind="leaked_label", on=("digits_mlp", "odd_convnet", "friedman_functional", "odd_gru", "friedman_mlp"), plant=leaked_label),
    Fault(code="D109", kind="sorted", on=FOUR_SGD, plant=sorted_by_class),
    Fault(code="D109", kind="class_missing", on=FOUR, plant=class_missing),
    Fault(code="D110", kind="sixty", on=FOUR, plant=few_examples, accepted=("M208",)),
    Fault(code="D110", kind="few_rows", on=REAL, plant=few_rows, accepted=("M208",)),
    Fault(code="D111", kind="nan", on=(*FOUR, "friedman_mlp"), plant=nan_row),
    Fault(code="D111", kind="outlier", on=("digits_mlp_sgd", "digits_convnet_sgd", "digits_functional_sgd", "friedman_mlp_sgd"), plant=outlier_rows),
)  # fmt: skip
