"""What is one step? Batches in, weights moved, loss out: theta <- theta - rate * gradient, as one
object, so that a compiled step can take its place."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trainwright.algorithm.gradient import Penalties, clip
from trainwright.algorithm.knobs import AlgorithmKnobs
from trainwright.algorithm.precision import Precision
from trainwright.data.batch import Batch
from trainwright.loss.objective import Objective
from trainwright.model.own import first_output


class Step(Protocol):
    """Moves the weights by one step; returns the mean loss over the batches, detached.

    With `check`, a loss that is not finite is returned *before* any weight has moved.
    """

    def __call__(self, batches: Sequence[Batch], rate: float, *, check: bool) -> Tensor: ...
