"""In which numbers do the layers compute? float32, bfloat16, or float16 with a scaled loss; the
weights stay as they are."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from trainwright.algorithm.knobs import AlgorithmKnobs


@runtime_checkable
class Movement(Protocol):
    """What moves the weights: see `algorithm/update.py`."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...
    def before_step(self) -> None: ...
    def step(self) -> None: ...


class Precision:
    """Mixed precision on one device.

    float16 gradients below 6e-8 would vanish: the loss is multiplied by a scale that halves when
    a gradient overflows (that step is left out) and doubles after 2000 good steps.

    Source: Micikevicius et al. 2018, arXiv:1710.03740, section 3.2; torch.amp.
    """

    def __init__(self, knobs: AlgorithmKnobs, device: torch.device) -> None:
        self._device = device.type
        # in what the layers compute, where that is not what the weights are
        self.dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(knobs.precision)
        scaled = self.dtype == torch.float16
        self._scaler = torch.amp.GradScaler(device.type) if scaled else None

    def autocast(self) -> AbstractContextManager[Any]:
        """Where forward pass and loss belong."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self._device, self.dtype)

    def backward(self, loss: Float[Tensor, ""]) -> None:
        """Adds the (scaled) gradients of `loss`."""
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()

    def move(self, update: Movement) -> None:
        """Unscales the gradients and moves the weights, or leaves out a step that overflowed."""
        if self._scaler is None:
            update.before_step()
            update.step()
            return
        optimizer: Any = update  # GradScaler asks for param_groups and step() and nothing else
        self._scaler.unscale_(optimizer)
        update.before_step()
        self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold; plain values."""
        return {} if self._scaler is None else self._scaler.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Continues from `state()`."""
        if self._scaler is not None:
            self._scaler.load_state_dict(state)


def quick_precision(device: torch.device) -> Literal["float32", "bfloat16"]:
    """bfloat16 where the hardware multiplies matrices of it: CUDA from Ampere on, CPUs with AMX.

    On other CPUs it is emulated, or gains nothing. A torch that cannot tell is taken for one.
    """
    if device.type == "cuda":
        quick = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        quick = getattr(torch.cpu, "_is_amx_tile_supported", bool)()
    return "bfloat16" if quick else "float32"


def build_precision(knobs: AlgorithmKnobs, device: torch.device) -> Precision:
    """The precision asked for."""
    return Precision(knobs, device)
