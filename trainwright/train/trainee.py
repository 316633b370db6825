"""What changes while training? Everything that a checkpoint must hold, in one place: weights,
optimisers, averages, scaler, position, best weights so far, random streams."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.algorithm.average import Average
from trainwright.algorithm.precision import Precision
from trainwright.algorithm.schedule import Plateau
from trainwright.core.errors import TrainwrightError
from trainwright.core.phrases import phrase
from trainwright.core.task import LOWER_IS_BETTER

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The weights that scored best on the validation split, and where."""

    step: int
    metrics: Mapping[str, float]
    weights: Tensors


@dataclass(slots=True, kw_only=True)
class Trainee:
    """The changing half of a run. `seconds` and `waited` (for input) are training time so far."""

    module: nn.Module
    optimizers: tuple[Optimizer, ...]
    precision: Precision
    average: Average | None
    plateau: Plateau | None
    step: int = 0
    total_steps: int | None = None
    paced: bool = False  # whether the budget's seconds have been turned into steps
    seconds: float = 0.0
    warm_seconds: float = 0.0  # `seconds` when the first, slow steps were through
    waited: float = 0.0
    best: Best | None = None
    looks_without_gain: int = 0
    loss_sum: Float[Tensor, ""] | float = 0.0  # since the last row of history
    loss_steps: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def weights(self) -> Tensors:
        """A copy of the weights that would be kept now: the average's where there is one."""
        live = self.module.state_dict()
        averaged = self.average.weights() if self.average is not None else {}
        kept: Tensors = {**live, **averaged}
        return {name: kept[name].detach().clone() for name in live}

    def chosen(self, keep: str) -> tuple[int, Tensors]:
        """Step and weights of the result: the best look, or the last step."""
        if keep == "best" and self.best is not None:
            return self.best.step, self.best.weights
        return self.step, self.weights()


def is_better(metrics: Mapping[str, float], than: Mapping[str, float], metric: str) -> bool:
    """Whether `metrics` win on `metric`, or on the loss where that ties; NaN never wins."""
    return _rank(metrics, metric) > _rank(than, metric)


def _rank(metrics: Mapping[str, float], metric: str) -> tuple[float, float]:
    value = metrics.get(metric, math.nan)
    signed = -value if metric in LOWER_IS_BETTER else value
    loss = -metrics.get("loss", math.nan)
    return tuple(-math.inf if math.isnan(x) else x for x in (signed, loss))  # pyright: ignore[reportReturnType]


def capture(trainee: Trainee) -> tuple[Tensors, dict[str, Any]]:
    """(tensors, plain values) to `restore` an equal trainee from, but for its best weights."""
    tensors = {f"module.{name}": t for name, t in trainee.module.state_dict().items()}
    optimizers = []
    for i, optimizer in enumerate(trainee.optimizers):
        state = optimizer.state_dict()
        scalars: dict[str, dict[str, Any]] = {}
        for key, values in state["state"].items():
            for name, value in values.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{i}.{key}.{name}"] = value
                else:
                    scalars.setdefault(str(key), {})[name] = value
        optimizers.append({"groups": state["param_groups"], "scalars": scalars})
    if trainee.average is not None:
        tensors |= {f"average.{name}": t for name, t in trainee.average.state().items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if trainee.device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(trainee.device)
    plain = {
        "step": trainee.step,
        "total_steps": trainee.total_steps,
        "paced": trainee.paced,
        "seconds": trainee.seconds,
        "warm_seconds": trainee.warm_seconds,
        "waited": trainee.waited,
        "looks_without_gain": trainee.looks_without_gain,
        "loss_sum": float(trainee.loss_sum),
        "loss_steps": trainee.loss_steps,
        "optimizers": optimizers,
        "precision": trainee.precision.state(),
        "plateau": trainee.plateau.state() if trainee.plateau is not None else None,
        "best": None
        if trainee.best is None
        else {"step": trainee.best.step, "metrics": dict(trainee.best.metrics)},
        "threads": torch.get_num_threads(),
    }
    return tensors, plain


def restore(
    trainee: Trainee, tensors: Tensors, plain: Mapping[str, Any], best_weights: Tensors | None
) -> None:
    """Puts a captured state into a trainee built from the same recipe."""
    try:
        trainee.module.load_state_dict(_under(tensors, "module."))
    except RuntimeError as error:
        raise TrainwrightError(
            phrase("the checkpoint does not fit the model"),
            allowed=phrase("a model with the same layers"),
            do=phrase(
                "give the model that was trained; torch says: {error}", error=str(error)[:200]
            ),
        ) from None
    for i, (optimizer, saved) in enumerate(
        zip(trainee.optimizers, plain["optimizers"], strict=True)
    ):
        _restore_optimizer(optimizer, _under(tensors, f"optimizer.{i}."), saved)
    if trainee.average is not None:
        trainee.average.load(_under(tensors, "average."))
    if trainee.plateau is not None:
        trainee.plateau.load(plain["plateau"])
    trainee.precision.load(plain["precision"])
    for name in ("step", "total_steps", "paced", "seconds", "warm_seconds", "waited",
                 "looks_without_gain", "loss_sum", "loss_steps"):  # fmt: skip
        setattr(trainee, name, plain[name])
    if plain["best"] is not None and best_weights is not None:
        weights = {name: t.to(trainee.device) for name, t in best_weights.items()}
        trainee.best = Best(**plain["best"], weights=weights)
    torch.set_rng_state(tensors["random.cpu"].cpu())
    if "random.cuda" in tensors and trainee.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"].cpu(), trainee.device)


def _restore_optimizer(optimizer: Optimizer, tensors: Tensors, saved: Mapping[str, Any]) -> None:
    """State tensors take the memory layout of their parameter: fused kernels walk both at once."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for path, tensor in tensors.items():
        key, _, name = path.partition(".")
        parameter = parameters[int(key)]
        alike = tensor.shape == parameter.shape and tensor.dim() > 1
        like = torch.empty_like(parameter, dtype=tensor.dtype) if alike else tensor
        laid_out = like.copy_(tensor) if alike else tensor
        state.setdefault(int(key), {})[name] = laid_out
    for key, values in saved["scalars"].items():
        state.setdefault(int(key), {}).update(values)
    optimizer.load_state_dict({"state": state, "param_groups": saved["groups"]})


def _under(tensors: Tensors, prefix: str) -> Tensors:
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
