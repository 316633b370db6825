"""How is a loss that the user brings called? Targets and outputs are brought into the form it
expects, its result is checked, and its failures are said in words."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.core.errors import ModelError, Problem, RecipeError, shown
from trainwright.core.phrases import phrase
from trainwright.core.task import Task
from trainwright.loss import objective as links
from trainwright.loss.objective import Losses, Objective, Outputs, Target

Wants = Literal["indices", "floats", "anything"]
Link = Callable[[Tensor], Tensor]

# torch's own losses, by what they expect as a target.
_INDICES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)
_INDEX_FUNCTIONS = (functional.cross_entropy, functional.nll_loss, functional.multi_margin_loss)
_LOGIT = (nn.BCEWithLogitsLoss, nn.MultiLabelSoftMarginLoss)
_LOGIT_FUNCTIONS = (
    functional.binary_cross_entropy_with_logits,
    functional.multilabel_soft_margin_loss,
)
_SHARE = (nn.BCELoss, nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
_SHARE_FUNCTIONS = (
    functional.binary_cross_entropy,
    functional.mse_loss,
    functional.l1_loss,
    functional.smooth_l1_loss,
    functional.huber_loss,
)
_COUNT, _COUNT_FUNCTIONS = (nn.PoissonNLLLoss,), (functional.poisson_nll_loss,)


def own_objective(custom: Callable[..., Any], task: Task, num_outputs: int) -> Objective:
    """An objective around `custom(outputs, target)`, which gives a scalar or one value per example.

    Classes come as int64 [batch], several labels as float [batch, class_], numbers as float
    [batch] or [batch, target]; outputs [batch, 1] are given as [batch], so that nothing
    broadcasts. torch's own losses get the target type that they expect.

    Raises RecipeError or ModelError when torch's own loss cannot fit the task or the outputs.
    """
    if isinstance(custom, type):
        custom = _instance(custom)
    wants = expected_target(custom)
    if wants == "indices" and task.kind in ("regression", "multilabel"):
        raise RecipeError(
            [
                Problem(
                    path="loss",
                    what=phrase(
                        "{loss} wants one class per example; this is a {task} task",
                        loss=_name(custom),
                        task=task.kind,
                    ),
                    do=phrase("take BCEWithLogitsLoss for several labels, MSELoss for numbers"),
                )
            ]
        )
    if wants == "indices" and num_outputs < len(task.classes):
        raise ModelError(
            phrase(
                "{loss} wants one output per class, and the model has {num_outputs} for "
                "{num_classes} classes",
                loss=_name(custom),
                num_outputs=num_outputs,
                num_classes=len(task.classes),
            ),
            allowed=phrase("{num_classes} outputs", num_classes=len(task.classes)),
            do=phrase("widen the last layer, or take BCEWithLogitsLoss for one logit"),
        )
    return Objective(
        mean=partial(_called, custom=custom, wants=wants, each=False),
        each=partial(_called, custom=_unreduced(custom), wants=wants, each=True),
        link=_link(custom, task, num_outputs),
        pairing=None,
        needs_raw_target=_is_count(custom),
    )


def expected_target(custom: Callable[..., Any]) -> Wants:
    """What kind of target this loss is known to want; `anything` for a loss not of torch."""
    if _is(custom, _INDICES, _INDEX_FUNCTIONS):
        return "indices"
    floats = _LOGIT + _SHARE + _COUNT
    if _is(custom, floats, _LOGIT_FUNCTIONS + _SHARE_FUNCTIONS + _COUNT_FUNCTIONS):
        return "floats"
    return "anything"


def num_outputs_for(custom: Callable[..., Any], task: Task) -> int:
    """Outputs to build for this loss: one logit for binary losses on floats, else one per class."""
    if not task.is_classification:
        return task.num_targets
    if task.kind == "binary" and expected_target(custom) == "floats":
        return 1
    return len(task.classes)


def _is(custom: Any, classes: tuple[type, ...], functions: tuple[Any, ...]) -> bool:
    inner = custom.func if isinstance(custom, partial) else custom
    if isinstance(inner, type):
        return issubclass(inner, classes)
    return isinstance(inner, classes) or any(inner is function for function in functions)


def _is_count(custom: Any) -> bool:
    return _is(custom, _COUNT, _COUNT_FUNCTIONS)


def _name(custom: Any) -> str:
    inner = custom.func if isinstance(custom, partial) else custom
    name = getattr(inner, "__name__", type(inner).__name__)
    return shown(str(name))[1:-1]


def _instance(custom: type) -> Callable[..., Any]:
    try:
        return custom()
    except Exception as error:
        raise _failure(
            custom, phrase("cannot be made without arguments: {error}", error=error)
        ) from error


def _failure(custom: Any, why: str) -> ModelError:
    return ModelError(
        phrase("the loss {loss} {why}", loss=_name(custom), why=shown(why)[1:-1]),
        allowed=phrase("loss(outputs, target) -> a scalar tensor, or one value per example"),
        do=phrase("call it once by hand on a batch of your model's outputs"),
    )


def _called(
    outputs: Outputs, target: Target, *, custom: Callable[..., Any], wants: Wants, each: bool
) -> Losses:
    outputs, target = _fitted(outputs, target, wants)
    try:
        result = custom(outputs, target)
        if each and isinstance(result, Tensor) and result.dim() == 0:  # it cannot but reduce
            pairs = zip(outputs.split(1), target.split(1), strict=True)
            return torch.stack([custom(z, y) for z, y in pairs])
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        why = phrase(
            "failed on outputs {outputs}, target {target} {dtype}: {error}",
            outputs=tuple(outputs.shape), target=tuple(target.shape), dtype=target.dtype,
            error=error,
        )  # fmt: skip
        raise _failure(custom, why) from error
    if not isinstance(result, Tensor):
        raise _failure(custom, phrase("returned {type}, not a tensor", type=type(result).__name__))
    if result.dim() == 0:
        return result
    if result.shape[0] != outputs.shape[0]:
        raise _failure(custom, phrase("returned the shape {shape}", shape=tuple(result.shape)))
    return result.flatten(1).mean(dim=1) if each and result.dim() > 1 else (
        result if each else result.mean()
    )  # fmt: skip


def _fitted(outputs: Outputs, target: Target, wants: Wants) -> tuple[Outputs, Target]:
    if outputs.dim() == 2 and outputs.shape[1] == 1 and wants != "indices":
        outputs = outputs[:, 0]
        if target.dim() == 2 and target.shape[1] == 1:
            target = target[:, 0]
    if wants == "floats" and not target.is_floating_point():
        if outputs.dim() == 2 and target.dim() == 1:
            target = functional.one_hot(target, outputs.shape[1])
        target = target.to(outputs.dtype)
    return outputs, target


def _unreduced(custom: Callable[..., Any]) -> Callable[..., Any]:
    """torch's own losses without their mean; others as they are."""
    if isinstance(custom, nn.Module):
        if getattr(custom, "reduction", None) in ("mean", "sum"):
            twin: Any = copy.copy(custom)  # shares weights, leaves the user's object alone
            twin.reduction = "none"
            return twin
        return custom
    return partial(custom, reduction="none") if expected_target(custom) != "anything" else custom


def _link(custom: Callable[..., Any], task: Task, num_outputs: int) -> Link:
    """What outputs mean under this loss: torch's own are known, else logits are assumed."""
    are_shares = _is(custom, _SHARE, _SHARE_FUNCTIONS)
    match task.kind:
        case "regression":
            is_log = _is_count(custom) and getattr(custom, "log_input", True)
            return links.rates if is_log else links.numbers
        case "multilabel":
            return links.clipped if are_shares else links.sigmoid_of_each
        case _ if num_outputs == 1:
            return links.shares_of_one if are_shares else links.sigmoid_of_one
        case _:
            return links.shares if are_shares else links.softmax
