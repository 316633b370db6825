"""Which weights are judged? The running average of the weights over the last steps, when asked."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainwright.algorithm.knobs import AlgorithmKnobs


class Average:
    """Exponential moving average of all floating-point parameters, corrected for its beginning.

    After t updates with weights w_1 ... w_t:
        average = sum_i d^(t - i) w_i / sum_i d^(t - i)
    so the initial weights have no part in it. Buffers (norm statistics) are the live ones.

    Source: Kingma & Ba 2015, arXiv:1412.6980, section 7.2.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        assert 0 <= decay < 1, decay
        self._decay = decay
        self._count = 0
        # a tensor shared by two layers has two names and one average
        named = [(n, p) for n, p in module.named_parameters(remove_duplicate=False)
                 if p.is_floating_point()]  # fmt: skip
        self._live = list({id(p): p for _, p in named}.values())
        self._averaged = [p.detach().clone() for p in self._live]
        places = {id(p): i for i, p in enumerate(self._live)}
        self._places = {name: places[id(p)] for name, p in named}

    @torch.no_grad()
    def update(self) -> None:
        """Takes the live weights in: average += (1 - d) / (1 - d^t) (live - average)."""
        self._count += 1
        share = (1 - self._decay) / (1 - self._decay**self._count)
        live = [p.detach() for p in self._live]
        torch._foreach_lerp_(self._averaged, live, share)  # pyright: ignore[reportPrivateImportUsage]

    def weights(self) -> dict[str, Tensor]:
        """The averages by their names in the module's state_dict; not copies."""
        return {name: self._averaged[place] for name, place in self._places.items()}

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module computes with the averages inside, and with its own weights after."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold."""
        tensors = {f"weight.{place}": t for place, t in enumerate(self._averaged)}
        return tensors | {"count": torch.tensor(self._count)}

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Continues from `state()`, to the bit."""
        self._count = int(state["count"])
        for place, tensor in enumerate(self._averaged):
            tensor.copy_(state[f"weight.{place}"])

    def _swap(self) -> None:
        for place, parameter in enumerate(self._live):
            parameter.data, self._averaged[place] = self._averaged[place], parameter.data


def build_average(knobs: AlgorithmKnobs, module: nn.Module) -> Average | None:
    """The average, when asked for."""
    return Average(module, knobs.average_decay) if knobs.average == "ema" else None
