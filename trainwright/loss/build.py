"""Which objective do these knobs ask for? Loss, link and weights for a task and a head."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trainwright.core.errors import ModelError, Problem, RecipeError
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice
from trainwright.core.task import Pairing, Task, pairing
from trainwright.loss import classes, numbers
from trainwright.loss import objective as links
from trainwright.loss.custom import num_outputs_for, own_objective
from trainwright.loss.knobs import LossKnobs
from trainwright.loss.objective import Objective
from trainwright.loss.pairing import class_weights, needs_raw_target, paired, problems_with_task

__all__ = ["build_objective", "check_target", "needs_raw_target", "num_outputs_for_loss"]


def build_objective(
    knobs: LossKnobs,
    task: Task,
    *,
    class_counts: Sequence[int] | None,
    num_outputs: int,
    custom: Callable[..., Any] | None = None,
) -> Objective:
    """The objective for outputs [batch, num_outputs].

    `class_counts`: training examples of each class, in order of index.

    Raises RecipeError when the loss does not fit the task, ModelError when it does not fit the
    number of outputs.
    """
    if custom is not None:
        problems = problems_with_task(knobs, task)
        if knobs.class_weights != "none" or knobs.label_smoothing:
            problems.append(
                Problem(
                    path="loss",
                    what=phrase("class_weights and label_smoothing do not reach an own loss"),
                    do=phrase("put them into your loss, or name a built-in one"),
                )
            )
        if problems:
            raise RecipeError(problems)
        return own_objective(custom, task, num_outputs)
    row, notices = _fitting_head(paired(knobs, task), task, num_outputs)
    weights = class_weights(knobs, task, list(class_counts) if class_counts else None)
    weight = None if weights is None else torch.tensor(weights)
    if task.is_classification:
        return _for_classes(knobs, task, row, weight, notices, num_outputs)
    return _for_numbers(knobs, row)


def num_outputs_for_loss(
    knobs: LossKnobs, task: Task, custom: Callable[..., Any] | None = None
) -> int:
    """Outputs that a model should have for this loss."""
    if custom is not None:
        return num_outputs_for(custom, task)
    return paired(knobs, task).num_outputs(task)


def check_target(knobs: LossKnobs, target: Tensor) -> None:
    """Raises RecipeError when the targets themselves do not fit: Poisson wants counts >= 0."""
    if knobs.name == "poisson" and target.numel() and float(target.min()) < 0:
        raise RecipeError(
            [
                Problem(
                    path="loss.name",
                    what=phrase(
                        "poisson counts events, and the least target is {least:g}",
                        least=float(target.min()),
                    ),
                    allowed=phrase("targets >= 0"),
                    do=phrase("write loss.name = 'squared' or 'huber'"),
                )
            ]
        )


def _fitting_head(row: Pairing, task: Task, num_outputs: int) -> tuple[Pairing, tuple[Notice, ...]]:
    """The row for the head that the model really has: an own binary model may have one or two
    outputs, whatever the loss is called; anything else is refused."""
    if num_outputs == row.num_outputs(task):
        return row, ()
    if task.kind == "binary" and row.loss in ("hinge", "zero_one") and num_outputs == 2:
        return row, ()
    twins = {1: "binary_cross_entropy", 2: "cross_entropy"}
    other = pairing("binary", twins.get(num_outputs, "")) if task.kind == "binary" else None
    if other is not None and row.loss not in ("hinge", "zero_one"):
        values = {"outputs": num_outputs, "asked": row.loss, "taken": other.loss}
        return other, (Notice(code="loss_follows_outputs", values=values),)
    wanted = row.num_outputs(task)
    raise ModelError(
        phrase(
            "the model has {num} output, and {loss} on a {task} target wants {wanted}",
            num=num_outputs,
            loss=row.loss,
            task=task.kind,
            wanted=wanted,
        )
        if num_outputs == 1
        else phrase(
            "the model has {num} outputs, and {loss} on a {task} target wants {wanted}",
            num=num_outputs,
            loss=row.loss,
            task=task.kind,
            wanted=wanted,
        ),
        allowed=phrase("outputs of shape [batch, {wanted}]", wanted=wanted),
        do=phrase("give the last layer {wanted} output, or correct data.task", wanted=wanted)
        if wanted == 1
        else phrase("give the last layer {wanted} outputs, or correct data.task", wanted=wanted),
    )


def _for_classes(
    knobs: LossKnobs,
    task: Task,
    row: Pairing,
    weight: Tensor | None,
    notices: tuple[Notice, ...],
    num_outputs: int,
) -> Objective:
    formula: Any
    options: dict[str, Any] = {"label_smoothing": knobs.label_smoothing, "weight": weight}
    each: dict[str, Any] = {"each": True}
    match row.loss:
        case "cross_entropy":
            formula, link, each = functional.cross_entropy, links.softmax, {"reduction": "none"}
        case "binary_cross_entropy" if task.kind == "multilabel":
            formula, link = classes.labels_cross_entropy, links.sigmoid_of_each
        case "binary_cross_entropy":
            formula, link = classes.one_logit_cross_entropy, links.sigmoid_of_one
        case "zero_one":
            options, formula = {"weight": weight}, classes.zero_one
            one = num_outputs == 1 and task.kind != "multilabel"
            several = links.sigmoid_of_each if task.kind == "multilabel" else links.softmax
            link = links.sigmoid_of_one if one else several
        case _:
            options = {"power": knobs.hinge_power, "weight": weight}
            one = num_outputs == 1
            formula = classes.binary_hinge if one else classes.multiclass_hinge
            # margins are no log-odds: the squashed ones rank rightly but are not calibrated
            link = links.sigmoid_of_one if one else links.softmax
    options = {key: value for key, value in options.items() if isinstance(value, Tensor) or value}
    return Objective(
        mean=partial(formula, **options) if options else formula,  # the bare function is fastest
        each=partial(formula, **options, **each),
        link=link,
        pairing=row,
        notices=notices,
    )


def _for_numbers(knobs: LossKnobs, row: Pairing) -> Objective:
    formula: Any
    options: dict[str, float] = {}
    match row.loss:
        case "squared":
            formula = numbers.squared
        case "absolute":
            formula = numbers.absolute
        case "huber":
            formula, options = numbers.huber, {"delta": knobs.huber_delta}
        case "quantile":
            formula, options = numbers.quantile, {"quantile": knobs.quantile}
        case _:
            formula = numbers.poisson
    return Objective(
        mean=partial(formula, **options) if options else formula,
        each=partial(formula, **options, each=True),
        link=links.rates if row.head == "log_rate" else links.numbers,
        pairing=row,
        needs_raw_target=row.head == "log_rate",
    )
