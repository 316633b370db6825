"""How is somebody's optimiser built anew over a fresh network? Its class and settings, and which
parameters it holds, by name."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn
from torch.optim import Optimizer

from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase

EXAMPLE = "optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3)"


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerPlan:
    """An optimiser as data. `by_name` are settings of single parameters that differ from
    `settings`; `without` are parameters that it was never given; what surgery adds it gets."""

    kind: type[Optimizer]
    settings: Mapping[str, Any]
    by_name: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    without: frozenset[str] = frozenset()

    def build(self, model: nn.Module) -> Optimizer:
        """Over the trainable parameters of `model`, equal settings in one group."""
        groups: dict[tuple[tuple[str, Any], ...], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if name in self.without or not parameter.requires_grad:
                continue
            own = tuple(sorted(self.by_name.get(name, {}).items()))
            groups.setdefault(own, []).append(parameter)
        if not groups:
            raise TrainwrightError(
                phrase("the optimiser holds no parameter that can be trained"),
                allowed=phrase("at least one parameter with requires_grad"),
                do=phrase("give it model.parameters()"),
            )
        tables = [{"params": members, **dict(own)} for own, members in groups.items()]
        return self.kind(tables, **self._accepted())  # pyright: ignore[reportCallIssue]

    def _accepted(self) -> dict[str, Any]:
        """Settings that the class can be built with (defaults may hold more)."""
        names = inspect.signature(self.kind).parameters
        return {name: value for name, value in self.settings.items() if name in names}

    @property
    def learning_rate(self) -> float:
        return float(self.settings.get("lr", 0.0))

    def times(self, factor: float, setting: str = "lr") -> "OptimizerPlan":
        """Every rate, or another setting, multiplied."""
        table = {name: {**own, setting: own[setting] * factor} if setting in own else own
                 for name, own in self.by_name.items()}  # fmt: skip
        now = float(self.settings.get(setting) or 0.0)
        return replace(self, settings={**self.settings, setting: now * factor}, by_name=table)

    def usual(self) -> dict[str, Any]:
        """The settings that the class has by default."""
        parameters = inspect.signature(self.kind).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not p.empty}

    def written(self) -> str:
        """How a user writes it: `torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)`."""
        usual = {**self.usual(), "lr": None}
        odd = [f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
               for name, value in self.settings.items()
               if name in usual and value != usual[name]]  # fmt: skip
        place = "torch.optim." if self.kind.__module__.startswith("torch.optim.") else ""
        return f"{place}{self.kind.__name__}({', '.join(['model.parameters()', *odd])})"

    def turned(self, **settings: Any) -> "OptimizerPlan":
        """Other settings for all parameters."""
        kept = {name: {k: v for k, v in own.items() if k not in settings}
                for name, own in self.by_name.items()}  # fmt: skip
        return replace(self, settings={**self.settings, **settings}, by_name=kept)


def plan_of(optimizer: Any, model: nn.Module) -> OptimizerPlan:
    """The plan of an optimiser over `model`, of a class, or of a function of the parameters
    (`lambda parameters: Adam(parameters, lr=1e-3)`).

    Raises TrainwrightError for anything else, and for one that holds none of the parameters.
    """
    if isinstance(optimizer, Optimizer):
        return _plan_of_instance(optimizer, model)
    if callable(optimizer):
        return _plan_of_instance(_made(optimizer, model), model)
    raise TrainwrightError(
        phrase("{value} is no optimiser", value=shown(type(optimizer).__name__)),
        allowed=phrase("a torch optimiser, its class, or a function of the parameters"),
        do=phrase("for example {code}", code=EXAMPLE),
    )


def _made(make: Callable[..., Any], model: nn.Module) -> Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    made = make(parameters)
    if not isinstance(made, Optimizer):
        raise TrainwrightError(
            phrase("the function made a {type}, no optimiser", type=shown(type(made).__name__)),
            allowed=phrase("a torch optimiser, its class, or a function of the parameters"),
            do=phrase("for example {code}", code=EXAMPLE),
        )
    return made


def _plan_of_instance(optimizer: Optimizer, model: nn.Module) -> OptimizerPlan:
    names = {id(p): name for name, p in model.named_parameters()}
    held: dict[str, dict[str, Any]] = {}
    first: dict[str, Any] | None = None
    for group in optimizer.param_groups:
        own = {k: v for k, v in group.items() if k not in ("params", "initial_lr", "param_names")}
        first = first or own
        for parameter in group["params"]:
            if id(parameter) in names:
                held[names[id(parameter)]] = {k: v for k, v in own.items() if first.get(k) != v}
    if not held or first is None:
        raise TrainwrightError(
            phrase("the optimiser holds no parameter of the model"),
            allowed=phrase("an optimiser over model.parameters()"),
            do=phrase("for example {code}", code=EXAMPLE),
        )
    missing = frozenset(names.values()) - held.keys()
    return OptimizerPlan(
        kind=type(optimizer), settings={**optimizer.defaults, **first},
        by_name={name: own for name, own in held.items() if own}, without=missing,
    )  # fmt: skip
