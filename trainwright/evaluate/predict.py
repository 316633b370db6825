"""What does a network say about each example of a split? One pass without gradients that leaves the
network, its buffers and the random state as they were."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from trainwright.data.batch import Examples
from trainwright.evaluate.estimate import Predictions, Targets
from trainwright.loss.objective import Objective
from trainwright.model.own import first_output


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Predictions and targets as the objective has them (numbers still standardised: decode them),
    and the loss of each example."""

    predictions: Predictions
    targets: Targets
    losses: Float[np.ndarray, " row"]


def predict(
    module: nn.Module,
    objective: Objective,
    examples: Examples,
    *,
    batch_size: int,
    device: torch.device | str = "cpu",
    precision: torch.dtype | None = None,
    most: int | None = None,
) -> Seen:
    """Predictions of `module` in eval mode for each example in order, or for the first `most`.

    `precision` computes the forward pass under autocast; losses are of float32 outputs.
    """
    place = torch.device(device)
    autocast = torch.autocast(place.type, dtype=precision or torch.bfloat16,
                              enabled=precision is not None)  # fmt: skip
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    count = 0
    with undisturbed(module), torch.inference_mode():
        for batch in examples.batches(batch_size):
            inputs = tuple(part.to(place, non_blocking=True) for part in batch.inputs)
            target = batch.target.to(place, non_blocking=True)
            with autocast:
                outputs = first_output(module(*inputs))
            if precision is not None:
                outputs = outputs.float()
            losses = objective.per_example(outputs, target)
            parts.append((objective.predict(outputs), target, losses.detach()))
            count += len(target)
            if most is not None and count >= most:
                break
    if not parts:
        return Seen(predictions=np.zeros(0), targets=np.zeros(0), losses=np.zeros(0))
    predictions, targets, losses = (
        torch.cat(column)[:most].cpu().numpy() for column in zip(*parts, strict=True)
    )
    return Seen(predictions=predictions, targets=targets, losses=losses)


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards each submodule's own mode, all buffers, and torch's random state
    are as before, whatever the user's forward does to them."""
    modes = [(part, part.training) for part in module.modules()]
    buffers = [
        (part, name, buffer, buffer.clone())
        for part in module.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]
    devices = {parameter.device for parameter in module.parameters() if parameter.is_cuda}
    module.eval()
    try:
        with torch.random.fork_rng(devices=[d.index for d in devices if d.index is not None]):
            yield
    finally:
        for part, training in modes:
            part.training = training
        with torch.no_grad():
            for part, name, buffer, before in buffers:
                buffer.copy_(before)
                part._buffers[name] = buffer
