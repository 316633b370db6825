"""How wrong is a prediction of classes? Cross-entropy, hinge and 0-1 losses as formulas over
outputs and targets: each gives a scalar, or with `each=True` one value per example."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from trainwright.loss.objective import Losses, OneOutput


def one_logit_cross_entropy(
    outputs: OneOutput,
    target: Int64[Tensor, " batch"],
    *,
    weight: Float[Tensor, "2"] | None = None,
    label_smoothing: float = 0.0,
    each: bool = False,
) -> Losses:
    """Cross-entropy of classes 0 and 1 from the logit of class 1.

    softplus(z) - t z, t = y (1 - e) + e / 2; equal to softmax cross-entropy on (0, z).
    outputs [batch, 1] or [batch]; target int64 [batch]. With weights the scalar is
    sum(w_y loss) / sum(w_y), as in torch's cross_entropy.
    """
    soft = target.to(outputs.dtype)
    if label_smoothing:
        soft = soft * (1 - label_smoothing) + label_smoothing / 2
    outputs = outputs.reshape(target.shape)
    if weight is None:
        return functional.binary_cross_entropy_with_logits(
            outputs, soft, reduction="none" if each else "mean"
        )
    # with smoothing each class's share carries that class's weight, as in torch's cross_entropy
    losses = weight[1] * soft * functional.softplus(-outputs) + weight[0] * (
        1 - soft
    ) * functional.softplus(outputs)
    return losses if each else losses.sum() / weight[target].sum()


def labels_cross_entropy(
    outputs: Float[Tensor, "batch class_"],
    target: Float[Tensor, "batch class_"],
    *,
    weight: Float[Tensor, " class_"] | None = None,
    label_smoothing: float = 0.0,
    each: bool = False,
) -> Losses:
    """Mean over labels of the binary cross-entropy on each label's logit.

    outputs and target [batch, class_], target 0 or 1 as float; weight [class_] is per label.
    """
    soft = target.to(outputs.dtype)
    if label_smoothing:
        soft = soft * (1 - label_smoothing) + label_smoothing / 2
    if each:
        return functional.binary_cross_entropy_with_logits(
            outputs, soft, weight=weight, reduction="none"
        ).mean(dim=1)
    return functional.binary_cross_entropy_with_logits(outputs, soft, weight=weight)


def binary_hinge(
    outputs: OneOutput,
    target: Int64[Tensor, " batch"],
    *,
    power: int = 1,
    weight: Float[Tensor, "2"] | None = None,
    each: bool = False,
) -> Losses:
    """max(0, 1 - s z)^power with s = 2 y - 1 and one margin z per example.

    Source: Cortes & Vapnik 1995.
    """
    signs = target.to(outputs.dtype) * 2 - 1
    losses = (1 - signs * outputs.reshape(target.shape)).clamp(min=0)
    return _weighed(losses, target, power=power, weight=weight, each=each)


def multiclass_hinge(
    outputs: Float[Tensor, "batch class_"],
    target: Int64[Tensor, " batch"],
    *,
    power: int = 1,
    weight: Float[Tensor, " class_"] | None = None,
    each: bool = False,
) -> Losses:
    """max(0, 1 + max_{j != y} z_j - z_y)^power: the true class must lead by 1.

    outputs [batch, class_], target int64 [batch]. Source: Crammer & Singer 2001, equation 4.
    """
    own = outputs.gather(1, target[:, None])
    others = outputs.scatter(1, target[:, None], -torch.inf)
    losses = (1 + others.amax(dim=1) - own[:, 0]).clamp(min=0)
    return _weighed(losses, target, power=power, weight=weight, each=each)


def zero_one(
    outputs: OneOutput | Float[Tensor, "batch class_"],
    target: Int64[Tensor, " batch"] | Float[Tensor, "batch class_"],
    *,
    weight: Float[Tensor, " class_"] | None = None,
    each: bool = False,
) -> Losses:
    """1 where the answer is wrong, 0 where it is right; its gradient is 0 wherever it has one.

    The answer is the class of the largest output, of one logit its sign. Several labels (target
    [batch, class_], 0 or 1): the mean over labels of the same; weight [class_] is then per label.
    """
    if target.dim() == 2:
        wrong = ((outputs > 0) != (target > 0.5)).to(outputs.dtype)
        wrong = (wrong if weight is None else wrong * weight).mean(dim=1)
        return wrong if each else wrong.mean()
    alone = outputs.dim() == 1 or outputs.shape[1] == 1
    answer = (outputs.reshape(target.shape) > 0).long() if alone else outputs.argmax(dim=1)
    wrong = (answer != target).to(outputs.dtype)
    return _weighed(wrong, target, power=1, weight=weight, each=each)


def _weighed(
    losses: Float[Tensor, " batch"],
    target: Int64[Tensor, " batch"],
    *,
    power: int,
    weight: Float[Tensor, " class_"] | None,
    each: bool,
) -> Losses:
    if power == 2:
        losses = losses.square()
    if weight is None:
        return losses if each else losses.mean()
    weights = weight[target]
    return losses * weights if each else (losses * weights).sum() / weights.sum()
