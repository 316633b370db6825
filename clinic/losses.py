"""Which criteria do users write or choose? By name, the sound and the unsound, and how answers to each
are scored."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clinic import score
from clinic.score import Score, answers, pinball

Criterion = Callable[[Any, Tensor], Tensor]


class Named(NamedTuple):
    """A criterion, what it wants targets to be, and the score of its answers."""

    make: Callable[[], Criterion]
    targets: str  # classes, one_hot, column (0/1 or real [N, 1]), signs (-1/+1), flat [N]
    score: Score | None = None  # None: as the task is scored


class OnDict(nn.Module):
    """A criterion on the first entry of a dict of outputs, as an own training module has it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, outputs: Any, y: Tensor) -> Tensor:
        return self.inner(answers(outputs), y)


def focal(outputs: Any, y: Tensor) -> Tensor:
    """Cross-entropy times (1 - p)^2, Lin et al. 2017."""
    each = F.cross_entropy(answers(outputs), y, reduction="none")
    return ((1 - (-each).exp()) ** 2 * each).mean()


def hinge(outputs: Any, y: Tensor) -> Tensor:
    """max(0, 1 - y s) for y in -1, +1."""
    return (1 - y * answers(outputs)).clamp(min=0).mean()


def log_softmax_nll(outputs: Any, y: Tensor) -> Tensor:
    """Log-softmax inside the user's function, then NLL."""
    return F.nll_loss(F.log_softmax(answers(outputs), dim=1), y)


def raw_log_bce(outputs: Any, y: Tensor) -> Tensor:
    """Hand-written, without clamp: infinite once a probability rounds to 0 or 1."""
    p = answers(outputs).sigmoid()
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


def raw_log_softmax(outputs: Any, y: Tensor) -> Tensor:
    """Entropy form with p log p of hand-made one-hot targets, without clamp."""
    raw = answers(outputs)
    p = raw.exp() / raw.exp().sum(1, keepdim=True)
    return -(F.one_hot(y, raw.shape[1]) * p.log()).sum(1).mean()


def squared_class_number(outputs: Any, y: Tensor) -> Tensor:
    """Squared error of one output against the class number."""
    return F.mse_loss(answers(outputs).squeeze(1), y.float())


def wrong_sign(outputs: Any, y: Tensor) -> Tensor:
    """The log likelihood itself, to be minimised."""
    return -F.cross_entropy(answers(outputs), y)


def wrong_sign_squares(outputs: Any, y: Tensor) -> Tensor:
    """Minus the squared error."""
    return -F.mse_loss(answers(outputs), y)


def broadcast_squares(outputs: Any, y: Tensor) -> Tensor:
    """[N, 1] against [N]: every output against every target."""
    return ((answers(outputs) - y) ** 2).mean()


def root_mean_square(outputs: Any, y: Tensor) -> Tensor:
    """RMSE, a sound criterion of many competitions."""
    return (F.mse_loss(answers(outputs), y) + 1e-8).sqrt()


def median_quantile(outputs: Any, y: Tensor) -> Tensor:
    """Pinball loss at 0.7."""
    return pinball(answers(outputs), y, 0.7)


def square_classes_score(outputs: Any, y: Tensor) -> score.Scored:
    """Class number rounded from one output."""
    right = answers(outputs).squeeze(1).round() == y
    return score.of_accuracy(right, y)


LOSSES: dict[str, Named] = {
    "cross_entropy": Named(nn.CrossEntropyLoss, "classes"),
    "label_smoothing": Named(lambda: nn.CrossEntropyLoss(label_smoothing=0.1), "classes"),
    "weighted": Named(lambda: nn.CrossEntropyLoss(weight=torch.linspace(0.5, 2, 10)), "classes"),
    "soft_cross_entropy": Named(nn.CrossEntropyLoss, "one_hot"),
    "sum_cross_entropy": Named(lambda: nn.CrossEntropyLoss(reduction="sum"), "classes"),
    "nll": Named(nn.NLLLoss, "classes"),
    "log_softmax_nll": Named(lambda: log_softmax_nll, "classes"),
    "focal": Named(lambda: focal, "classes"),
    "raw_log_softmax": Named(lambda: raw_log_softmax, "classes"),
    "wrong_sign": Named(lambda: wrong_sign, "classes"),
    "multi_margin": Named(nn.MultiMarginLoss, "classes"),
    "class_number": Named(lambda: squared_class_number, "classes", square_classes_score),
    "squared_one_hot": Named(nn.MSELoss, "one_hot"),
    "absolute_one_hot": Named(nn.L1Loss, "one_hot"),
    "bce_one_hot": Named(nn.BCELoss, "one_hot"),
    "bce_logits_one_hot": Named(nn.BCEWithLogitsLoss, "one_hot"),
    "bce_logits": Named(nn.BCEWithLogitsLoss, "column", score.skill_of_logit),
    "bce": Named(nn.BCELoss, "column", score.skill_of_probability),
    "raw_log_bce": Named(lambda: raw_log_bce, "column", score.skill_of_logit),
    "hinge": Named(lambda: hinge, "signs", score.skill_of_logit),
    "hinge_zero_one": Named(lambda: hinge, "column", score.skill_of_logit),
    "squared": Named(nn.MSELoss, "column"),
    "sum_squares": Named(lambda: nn.MSELoss(reduction="sum"), "column"),
    "broadcast_squares": Named(lambda: broadcast_squares, "flat"),
    "wrong_sign_squares": Named(lambda: wrong_sign_squares, "column"),
    "absolute": Named(nn.L1Loss, "column"),
    "huber": Named(lambda: nn.HuberLoss(delta=1.0), "column"),
    "smooth_l1": Named(nn.SmoothL1Loss, "column"),
    "root_mean_square": Named(lambda: root_mean_square, "column"),
    "quantile": Named(lambda: median_quantile, "column", score.skill_of_quantile(0.7)),
    "real_cross_entropy": Named(nn.CrossEntropyLoss, "column"),
}


def targets_for(kind: str, y: Tensor, num_outputs: int) -> Tensor:
    """`y` as the criterion is given it."""
    match kind:
        case "one_hot":
            return F.one_hot(y, num_outputs).float()
        case "signs":
            return y * 2 - 1
        case "flat":
            return y.flatten()
    return y
