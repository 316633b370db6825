"""How does surgery enter a program? As a change made anew on each fresh network, tried once before
it is believed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from trainwright.check.sample import Sample, first_tensor
from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.edit.edit import refused
from trainwright.edit.program import Done, Program
from trainwright.edit.surgery.observe import observe

# As those of edit/surgery, the rest filled in: (model, anatomy), or with `batch`, too.
Operation = Callable[..., Any]
EXPECTED = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)
PARTS = 3  # batches of the dry run: where a forward branches on data, several must be seen


@dataclass(frozen=True, slots=True)
class Surgery:
    """A change of a fresh network: what is where is found by a dry run on it. `fed`: the operation
    also looks at what the rows do in it."""

    operation: Operation
    fed: bool = False

    def __call__(self, model: nn.Module, few: Sample) -> Any:
        seen = observe(model, parts_of(few))
        if self.fed:
            return self.operation(model, seen, batch=few.arguments())
        return self.operation(model, seen)


def parts_of(few: Sample) -> list[Any]:
    """The rows as several batches of what the model is called with."""
    size = max(2, few.num_rows // PARTS)
    starts = range(0, max(1, few.num_rows - size + 1), size)
    return [few.pick(np.arange(at, min(at + size, few.num_rows))).arguments() for at in starts]


def operated(
    program: Program, name: str, operation: Operation, *, first: bool = False, fed: bool = False,
    **values: Any,
) -> Program:  # fmt: skip
    """The program with an operation in it, tried on a fresh network: forward, backward. It is the
    last of the program's changes, or the `first`, where it makes layers anew that others hang on.

    Raises NotApplicable with the reason where it does not fit.
    """
    change = Surgery(operation, fed)
    changes = (change, *program.changes) if first else (*program.changes, change)
    model = program.make_model(0)
    try:
        made = program.change(model, changes, 0)
        _alive(program, model, program.few())
    except TrainwrightError as error:
        raise refused(name, str(error.what)) from None
    except EXPECTED as error:  # a forward that names sizes, or asks a list for what no module has
        why = phrase("the edited network does not run: {reason}", reason=shown(str(error)))
        raise refused(name, why) from None
    lines = tuple(getattr(made[0 if first else -1], "lines", ()))
    return program.after(Done(name=name, values=values, lines=lines), changes=changes)


def bare_head(program: Program) -> Program:
    """The program whose network gives what its last layer gives; itself where it does already."""
    from trainwright.edit.surgery.activation import remove_head_activation

    model, _ = program.start(0)
    if observe(model, parts_of(program.few())).head_activation is None:
        return program
    return operated(program, "linear_head", remove_head_activation)


def _alive(program: Program, model: nn.Module, few: Sample) -> None:
    outputs = first_tensor(few.run(model))
    if outputs is None or not bool(torch.isfinite(outputs).all()):
        raise TrainwrightError(
            phrase("the edited network gives no finite outputs"),
            allowed=phrase("finite outputs"), do=phrase("try another remedy"),
        )  # fmt: skip
    outputs.double().square().sum().backward()
    model.zero_grad(set_to_none=True)
