"""What is one step without a gradient? The network is tried with its weights changed a little this
way and that, and moves where the tries lost least."""

import copy
import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, replace_all_batch_norm_modules_, vmap

from trainwright.algorithm.average import Average
from trainwright.algorithm.evolution import estimated_gradient
from trainwright.algorithm.knobs import AlgorithmKnobs
from trainwright.algorithm.precision import Precision
from trainwright.algorithm.update import Update
from trainwright.core.errors import ModelError
from trainwright.core.phrases import phrase
from trainwright.data.batch import Batch
from trainwright.loss.objective import Objective
from trainwright.model.own import first_output

# Pairs of tries that run as one batch. It matters little on a CPU [measured: one thread, 64 tries,
# batch 256: mlp 15, 14, 15 ms with 4, 16, 64 pairs, a convnet 61, 77, 82; try by try 18 and 60].
PAIRS_AT_ONCE = 16


class EvolutionStep:
    """A step by an evolution strategy: directions are drawn from torch's own random stream, so that
    a resumed run draws what the uninterrupted one would have drawn.

    All tries see the same batches and, within one batch of tries, the same dropout; statistics of
    batch norms are kept from the unchanged network only. Keeps population / 2 vectors as long as
    the parameters. Raises ModelError for a module that cannot be copied.

    Source: Salimans et al. 2017, arXiv:1703.03864.
    """

    def __init__(
        self,
        *,
        knobs: AlgorithmKnobs,
        module: nn.Module,
        objective: Objective,
        update: Update,
        precision: Precision,
        average: Average | None,
        device: torch.device,
        few: Batch,
    ) -> None:
        assert isinstance(knobs.population, int), "knobs must be resolved: algorithm/resolve.py"
        assert isinstance(knobs.sigma, float), "knobs must be resolved: algorithm/resolve.py"
        self._pairs, self._sigma = knobs.population // 2, knobs.sigma
        self._module, self._objective, self._update = module, objective, update
        self._precision, self._average, self._device = precision, average, device
        self._parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self._sizes = [p.numel() for p in self._parameters.values()]
        self._devices = [device] if device.type == "cuda" else []
        self._twin = _twin(module)
        self._at_once = self._can_run_at_once(few)

    @torch.no_grad()
    def __call__(self, batches: Sequence[Batch], rate: float, *, check: bool) -> Float[Tensor, ""]:
        there = [self._moved(batch) for batch in batches]
        with self._precision.autocast():
            losses = [self._objective(first_output(self._module(*x)), y) for x, y in there]
        total = torch.stack([loss.float() for loss in losses]).mean()
        if check and not math.isfinite(total.item()):
            return total
        size = (self._pairs, sum(self._sizes))
        directions = torch.randn(size, device=self._device)
        self._twin.train(self._module.training)
        tries = torch.cat(
            [self._tries(some, there) for some in directions.split(PAIRS_AT_ONCE)], dim=1
        )
        gradient = estimated_gradient(directions, tries[0], tries[1], self._sigma)
        for (_, parameter), part in zip(
            self._parameters.items(), gradient.split(self._sizes), strict=True
        ):
            parameter.grad = part.reshape(parameter.shape).to(parameter.dtype)
        self._update(rate)
        for parameter in self._parameters.values():
            parameter.grad = None  # whoever reads it would take the estimate for a gradient
        if self._average is not None:
            self._average.update()
        return total

    def _moved(self, batch: Batch) -> tuple[tuple[Tensor, ...], Tensor]:
        """The batch's inputs and target where the network is."""
        inputs = tuple(part.to(self._device, non_blocking=True) for part in batch.inputs)
        return inputs, batch.target.to(self._device, non_blocking=True)

    def _tries(
        self, directions: Float[Tensor, "pair parameter"], batches: Sequence[tuple]
    ) -> Float[Tensor, "2 pair"]:
        """Mean losses over the batches at theta + sigma e, and at theta - sigma e."""
        signed = self._sigma * torch.cat([directions, -directions])
        parts = zip(self._parameters.items(), signed.split(self._sizes, dim=1), strict=True)
        tried = {
            name: parameter + part.reshape(-1, *parameter.shape).to(parameter.dtype)
            for (name, parameter), part in parts
        }
        run = self._all_at_once if self._at_once else self._one_by_one
        with self._precision.autocast():
            losses = [run(tried, x, y) for x, y in batches]
        return torch.stack([loss.float() for loss in losses]).mean(dim=0).reshape(2, -1)

    def _all_at_once(
        self, tried: Mapping[str, Tensor], inputs: tuple[Tensor, ...], target: Tensor
    ) -> Float[Tensor, " try"]:
        fixed = self._fixed()

        def loss_of(weights: dict[str, Tensor]) -> Tensor:
            outputs = functional_call(self._twin, {**fixed, **weights}, inputs)
            return self._objective(first_output(outputs), target)

        return vmap(loss_of, randomness="same")(dict(tried))

    def _one_by_one(
        self, tried: Mapping[str, Tensor], inputs: tuple[Tensor, ...], target: Tensor
    ) -> Float[Tensor, " try"]:
        """The same for code that cannot run on many weights at once, each try from one random
        state."""
        count = len(next(iter(tried.values())))
        losses = []
        for i in range(count):
            fixed = {name: tensor.clone() for name, tensor in self._fixed().items()}
            weights = {name: tensor[i] for name, tensor in tried.items()}
            with torch.random.fork_rng(self._devices, enabled=i + 1 < count):
                outputs = functional_call(self._twin, {**fixed, **weights}, inputs)
                losses.append(self._objective(first_output(outputs), target).detach())
        return torch.stack(losses)

    def _fixed(self) -> dict[str, Tensor]:
        """Buffers and frozen parameters of the network as they are now."""
        there = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}
        names = [n for n, _ in (*self._twin.named_parameters(), *self._twin.named_buffers())]
        return {name: there[name] for name in names if name not in self._parameters}

    @torch.no_grad()
    def _can_run_at_once(self, few: Batch) -> bool:
        """Whether network and loss run on many weights as one batch: tried once, so that a resumed
        run, which tries again, goes the same way."""
        self._at_once = True
        self._twin.train(self._module.training)
        with torch.random.fork_rng(self._devices):
            try:
                self._tries(
                    torch.zeros(1, sum(self._sizes), device=self._device), [self._moved(few)]
                )
            except (RuntimeError, ValueError, TypeError, NotImplementedError):
                return False
        return True


def _twin(module: nn.Module) -> nn.Module:
    """A copy to try weights in, without anyone's later hooks; its batch norms keep no statistics,
    which many weights at once could not share."""
    try:
        twin = copy.deepcopy(module)
    except Exception as error:
        raise ModelError(
            phrase("the model cannot be copied: {error}", error=f"{type(error).__name__}: {error}"),
            allowed=phrase("a module that copy.deepcopy can copy: evolution tries changed weights"),
            do=phrase("choose optimizer = 'adamw', or keep files and locks out of the module"),
        ) from error
    replace_all_batch_norm_modules_(twin)
    return twin
