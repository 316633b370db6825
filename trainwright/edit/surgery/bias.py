"""What does a network answer before it has learned anything? The last layer's bias starts where it
is told to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.check.sample import first_tensor
from trainwright.check.subject import same_random_states
from trainwright.core.errors import TrainwrightError
from trainwright.core.phrases import phrase
from trainwright.edit.surgery.anatomy import Anatomy, Layer, expression
from trainwright.edit.surgery.dry_run import call
from trainwright.edit.surgery.record import Edited, Record

KINDS = ("linear", "convolution")


def start_bias(
    model: nn.Module, anatomy: Anatomy, values: tuple[float, ...],
    wanted: Callable[[Tensor], Tensor], written: tuple[str, ...], *, axis: int, batch: Any,
) -> Edited:  # fmt: skip
    """The bias of the last layer becomes `values` [output]; its weights stay as they are. `wanted`
    is what the network is to answer then, wherever the weights say nothing: the values themselves,
    or what a softmax or sigmoid that belongs there makes of them [output]; outputs run over `axis`.
    `written` are the lines for the values, the last of them an expression.

    Raises TrainwrightError for a network whose last layer is not alone, no linear layer or
    convolution, or without a bias; and where other steps between it and the outputs make something
    else of the values, as an activation does, tried on `batch` with weights of 0.
    Source: Lin et al. 2017, arXiv:1708.02002, section 4.1.
    """
    heads = [layer for layer in anatomy.layers if layer.is_head]
    if len(heads) != 1 or heads[0].kind not in KINDS:
        raise _unfit(phrase("the network does not end in one linear layer or convolution"))
    bias = _bias(model, heads[0], len(values))
    if bias is None:
        raise _unfit(phrase("the last layer has no bias of its own"))
    with Record(model) as record, torch.no_grad():
        start = torch.tensor(values).to(model.get_parameter(bias))
        model.get_parameter(bias).copy_(start)
        record.touch()
        with _mute(model, heads[0]):
            outputs = first_tensor(call(model, batch))
        answer = wanted(start)
        if outputs is None or not _alike(outputs, answer, axis):
            raise _unfit(phrase("what stands behind the last layer changes what its bias means"))
        *lines, value = written
        return record.done("start_bias", [bias], [*lines, f"{expression(bias)}.data[:] = {value}"])


def _unfit(what: str) -> TrainwrightError:
    return TrainwrightError(
        what,
        allowed=phrase("a network whose last layer adds a bias that reaches the outputs"),
        do=phrase("give the last layer bias=True, and the loss its raw outputs"),
    )


def _bias(model: nn.Module, layer: Layer, size: int) -> str | None:
    """The name of the vector that the layer adds, one number for each output."""
    for name in layer.parameters:
        shape = tuple(model.get_parameter(name).shape)
        if name != layer.weight and shape == (size,):
            return name
    return None


@contextmanager
def _mute(model: nn.Module, layer: Layer) -> Iterator[None]:
    """The layer's weights are 0 and all modules in evaluation mode, until the end of the block."""
    weight = model.get_parameter(layer.weight)
    kept, modes = weight.detach().clone(), [(m, m.training) for m in model.modules()]
    try:
        weight.zero_()
        model.eval()
        with same_random_states():
            yield
    finally:
        weight.copy_(kept)
        for module, training in modes:
            module.training = training


def _alike(outputs: Tensor, answer: Tensor, axis: int) -> bool:
    last = outputs.movedim(axis, -1) if outputs.ndim > 1 else outputs
    if last.ndim == 0 or len(answer) not in (1, last.shape[-1]):
        return False
    return bool(torch.isclose(last, answer.to(last), rtol=1e-3, atol=1e-4).all())
