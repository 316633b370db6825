"""Which rule turns a gradient into a step? torch's optimisers by name, in their quickest form, and
without waking torch's compiler, whose import costs more than a small training."""

import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from trainwright.algorithm.evolution import Evolution
from trainwright.algorithm.knobs import AlgorithmKnobs
from trainwright.core.errors import ModelError
from trainwright.core.phrases import phrase

# Where torch has one kernel for the whole step; others go over lists of tensors (foreach).
FUSED = {"sgd": ("cpu", "cuda"), "adam": ("cpu", "cuda"), "adamw": ("cpu", "cuda"),
         "muon": ("cpu", "cuda"), "evolution": ("cpu", "cuda"), "adagrad": ("cpu",)}  # fmt: skip


def build_optimizers(knobs: AlgorithmKnobs, module: nn.Module) -> tuple[Optimizer, ...]:
    """torch's optimisers for the trainable parameters: one, or for muon two.

    `knobs` are resolved. None of them decays weights: `gradient.GradientWork` does, for all alike.
    muon takes the matrices between input and head; embeddings, convolutions, the last matrix,
    biases and norms go to adamw, at the same rate.
    Raises ModelError when nothing is trainable.

    Source: Jordan 2024, kellerjordan.github.io/posts/muon (who takes what); Liu et al. 2025,
    arXiv:2502.16982, equation 4 (one rate for both).
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise ModelError(
            phrase("the model has no parameters to train"),
            allowed=phrase("a module with trainable parameters"),
            do=phrase("add a layer, or set requires_grad on some parameters"),
        )
    spare_compiler_import()
    if knobs.optimizer != "muon":
        return (_build(knobs, parameters),)
    hidden = hidden_matrices(module)
    chosen = {id(p) for p in hidden}
    rest = [p for p in parameters if id(p) not in chosen]
    found: list[Optimizer] = [_muon(knobs, hidden)] if hidden else []
    found += [_build(knobs, rest, momentum=0.9)] if rest else []
    return tuple(found)


def hidden_matrices(module: nn.Module) -> list[nn.Parameter]:
    """Trainable 2-d weights that are neither embeddings nor the last of their kind (the head)."""
    embeddings = {
        id(p)
        for part in module.modules()
        if isinstance(part, (nn.Embedding, nn.EmbeddingBag))
        for p in part.parameters(recurse=False)
    }
    matrices = [
        p
        for p in module.parameters()
        if p.requires_grad and p.ndim == 2 and id(p) not in embeddings
    ]
    return matrices[:-1]


def stepper(optimizers: Iterable[Optimizer]) -> Callable[[], None]:
    """One call that steps them all, without torch's wrappers around `step`.

    The wrappers serve hooks and the compiler (and import it): neither is in use here. The same
    arithmetic runs either way.
    """
    steps = [partial(inspect.unwrap(type(o).step), o) for o in optimizers]

    @torch.no_grad()
    def step_all() -> None:
        for step in steps:
            step()

    return step_all


def spare_compiler_import() -> None:
    """Keeps torch from importing its compiler only to say that optimisers are not compiled.

    Some of Optimizer's methods are wrapped so that torch.compile leaves them alone; the wrapper
    imports torch._dynamo at its first call [measured: 2.9 s, torch 2.13.0, 2 cores] and caches
    the outcome on the method. Here the cache is filled with the method itself. Once someone
    really compiles, the cache is emptied at the next call and torch's own way is taken. A torch
    that caches otherwise is left as it is.
    """
    if "torch._dynamo" in sys.modules:
        return
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        wrapper = getattr(Optimizer, name, None)
        plain = getattr(wrapper, "__wrapped__", None)
        if wrapper is None or plain is None or hasattr(plain, _CACHE):
            continue
        setattr(plain, _CACHE, _until_compiling(wrapper, plain))


_CACHE = "__dynamo_disable"  # the name that torch/_compile.py looks up


def _until_compiling(wrapper: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return plain(*args, **kwargs)
        if getattr(plain, _CACHE, None) is call:
            delattr(plain, _CACHE)
        return wrapper(*args, **kwargs)

    return call


def _number(value: float | str) -> float:
    assert not isinstance(value, str), "knobs must be resolved: algorithm/resolve.py"
    return value


def _build(
    knobs: AlgorithmKnobs, parameters: Sequence[nn.Parameter], momentum: float | None = None
) -> Optimizer:
    name = knobs.optimizer
    rate = _number(knobs.learning_rate)
    kept = _number(knobs.momentum) if momentum is None else momentum
    quick: dict[str, Any] = {"foreach": True}
    devices = {p.device.type for p in parameters}
    if devices <= set(FUSED.get(name, ())) and all(p.is_floating_point() for p in parameters):
        quick = {"fused": True}
    match name:
        case "sgd":
            nesterov = knobs.nesterov is True
            return torch.optim.SGD(parameters, rate, momentum=kept, nesterov=nesterov, **quick)
        case "adam" | "adamw" | "muon":
            betas = (kept, _number(knobs.beta2))
            return torch.optim.Adam(parameters, rate, betas, _number(knobs.eps), **quick)
        case "evolution":
            betas = (kept, _number(knobs.beta2))
            return Evolution(parameters, rate, betas, _number(knobs.eps), **quick)
        case "nadam":
            betas = (kept, _number(knobs.beta2))
            nadam = torch.optim.NAdam(parameters, rate, betas, _number(knobs.eps), **quick)
            _load_exactly(nadam, "mu_product")
            return nadam
        case "rmsprop":
            alpha, eps = _number(knobs.beta2), _number(knobs.eps)
            return torch.optim.RMSprop(parameters, rate, alpha, eps, momentum=kept, **quick)
        case "adagrad":
            return torch.optim.Adagrad(parameters, rate, eps=_number(knobs.eps), **quick)


def _muon(knobs: AlgorithmKnobs, matrices: Sequence[nn.Parameter]) -> Optimizer:
    return torch.optim.Muon(
        matrices,
        _number(knobs.learning_rate),
        weight_decay=0.0,
        momentum=_number(knobs.momentum),
        nesterov=knobs.nesterov is True,
        adjust_lr_fn="match_rms_adamw",
    )


def _load_exactly(optimizer: Optimizer, name: str) -> None:
    """Makes `load_state_dict` keep the precision of the scalar `name` in each parameter's state.

    torch gives it the parameter's precision, so that float64 or bfloat16 weights would go on
    otherwise after a resume than without one.
    """
    kept: dict[int, Any] = {}

    def before(_: Optimizer, state: dict[str, Any]) -> None:
        kept.clear()
        kept.update({k: v[name].clone() for k, v in state["state"].items() if name in v})

    def after(loaded: Optimizer) -> None:
        parameters = [p for group in loaded.param_groups for p in group["params"]]
        for key, value in kept.items():
            loaded.state[parameters[key]][name] = value.to(parameters[key].device)

    optimizer.register_load_state_dict_pre_hook(before)
    optimizer.register_load_state_dict_post_hook(after)
