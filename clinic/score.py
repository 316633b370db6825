"""How good are a model's answers? The user's own number, and the skill above the best constant answer:
0 for the constant, 1 for perfection, so that programs of all kinds compare."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

BARELY = 1e-9  # keeps divisions finite where the targets are constant


class Scored(NamedTuple):
    """`raw` is what the user would print (accuracy, R2, …); `skill` is (raw - constant) / (best -
    constant)."""

    raw: float
    skill: float


Score = Callable[[Any, Tensor], Scored]


def answers(outputs: Any) -> Tensor:
    """The main output, where a model gives a dict or a tuple."""
    if isinstance(outputs, dict):
        return next(iter(outputs.values()))
    return outputs[0] if isinstance(outputs, tuple) else outputs


def of_accuracy(right: Tensor, classes: Tensor) -> Scored:
    """Accuracy, and mean recall rescaled so that a constant answer has skill 0."""
    present = classes.unique()
    recalls = torch.stack([right[classes == c].float().mean() for c in present])
    chance = 1 / max(2, len(present))
    balanced = float(recalls.mean())
    return Scored(float(right.float().mean()), (balanced - chance) / (1 - chance))


def skill_of_classes(outputs: Any, y: Tensor) -> Scored:
    """Largest output against class numbers [example, …]; one-hot targets are turned into them."""
    scores = answers(outputs)
    classes = y if y.dtype == torch.int64 else y.argmax(-1)
    right = (scores.argmax(-1) == classes).flatten()
    return of_accuracy(right, classes.flatten())


def skill_of_logit(outputs: Any, y: Tensor) -> Scored:
    """Sign of one output per example against 0 or 1 (or -1 and 1)."""
    predicted = answers(outputs).flatten() > 0
    truth = y.flatten() > 0
    return of_accuracy(predicted == truth, truth.long())


def skill_of_probability(outputs: Any, y: Tensor) -> Scored:
    """One probability per example against 0 or 1, cut at one half."""
    return skill_of_logit(answers(outputs) - 0.5, y)


def skill_of_labels(outputs: Any, y: Tensor) -> Scored:
    """Signs of several outputs per example against 0 and 1, label by label."""
    columns = [skill_of_logit(o, t) for o, t in zip(answers(outputs).T, y.T, strict=True)]
    return _mean(columns)


def skill_of_label_probabilities(outputs: Any, y: Tensor) -> Scored:
    """Several probabilities per example, each cut at one half."""
    return skill_of_labels(answers(outputs) - 0.5, y)


def skill_of_number(outputs: Any, y: Tensor) -> Scored:
    """R2 over all target values, each column about its own mean."""
    predicted = answers(outputs)
    predicted = predicted.reshape(y.shape)
    variance = (y - y.mean(0)).square().mean() + BARELY
    r2 = float(1 - (predicted - y).square().mean() / variance)
    return Scored(r2, max(-1.0, r2) if r2 == r2 else -1.0)


def skill_of_counts(outputs: Any, y: Tensor) -> Scored:
    """Share of the Poisson deviance explained; outputs are log rates."""
    log_rate = answers(outputs).reshape(y.shape)

    def deviance(log_rate: Tensor) -> Tensor:
        return 2 * (torch.special.xlogy(y, y) - y * log_rate - y + log_rate.exp()).mean()

    constant = deviance(y.mean().log().expand_as(y))
    explained = float(1 - deviance(log_rate) / constant)
    return Scored(explained, explained)


def skill_of_quantile(quantile: float) -> Score:
    """1 - pinball loss / that of the constant quantile."""

    def score(outputs: Any, y: Tensor) -> Scored:
        constant = y.quantile(quantile)
        mine = pinball(answers(outputs).reshape(y.shape), y, quantile)
        explained = float(1 - mine / pinball(constant.expand_as(y), y, quantile))
        return Scored(explained, explained)

    return score


def pinball(predicted: Tensor, y: Tensor, quantile: float) -> Tensor:
    """Quantile loss: q (y - p) above, (1 - q)(p - y) below, mean."""
    error = y - predicted
    return torch.maximum(quantile * error, (quantile - 1) * error).mean()


def _mean(columns: list[Scored]) -> Scored:
    raw = sum(c.raw for c in columns) / len(columns)
    return Scored(raw, sum(c.skill for c in columns) / len(columns))
