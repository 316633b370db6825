"""How is a function call in a user's forward changed? The forward of the whole model runs under a
TorchFunctionMode that replaces the calls named by a rule."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainwright.check.network.trace import DROPOUTS, WEIGHTED, operation_name
from trainwright.edit.surgery.anatomy import Call, call_site
from trainwright.edit.surgery.hooks import ACTIVATIONS, written_over
from trainwright.edit.surgery.rejoin import Rejoining
from trainwright.model.nonlinearity import FLAT, nonlinearity

TURNED = frozenset(("T", "mT", "t", "transpose", "permute", "view", "reshape", "contiguous", "to"))
BENDS = frozenset(FLAT) | {f"{name}_" for name in FLAT} | {"swish"}
DROPS = DROPOUTS | {"scaled_dot_product_attention"}
WEIGHS = TURNED | frozenset(WEIGHTED)
_running = threading.local()  # rewired forwards in which this thread is


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which calls are changed, and how. All parts are applied that are given.

    `replaced` activations become `activation`: all of them, those of `only`, or all but `spared`;
    and so do the calls `also`, of other names.
    `behind`: name of a bare parameter -> path of the module applied to what is computed with it;
    `following`: the same for a call of an activation; `adding`: bare parameters to whose results
    the input is added; `dropout`: the rate wherever a function drops out at a rate above zero.
    `cuts`: calls that keep their gradient (rejoin.py); a rule of these has no other parts.
    """

    replaced: frozenset[str] = frozenset()
    activation: str = ""
    only: tuple[Call, ...] | None = None
    spared: tuple[Call, ...] = ()
    also: tuple[Call, ...] = ()
    behind: Mapping[str, str] = field(default_factory=dict)
    following: tuple[tuple[Call, str], ...] = ()
    adding: frozenset[str] = frozenset()
    dropout: float | None = None
    cuts: tuple[Call, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Operations that the rule may concern."""
        bends = BENDS if self.replaced or self.also or self.following else frozenset[str]()
        drops = DROPS if self.dropout is not None else frozenset[str]()
        return bends | drops | (WEIGHS if self.behind or self.adding else frozenset[str]())

    @property
    def needs_sites(self) -> bool:
        sited = self.spared or self.also or self.following or self.cuts
        return bool(self.only is not None or sited)


class Rewired:
    """Stands as `forward` of the model. A `with` statement leaves the mode whatever is raised,
    Ctrl-C included (torch runs `always_call` hooks for `Exception` only)."""

    def __init__(self, module: nn.Module, rule: Rule, inner: Any) -> None:
        self.module, self.rule, self.inner = module, rule, inner

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.rule.needs_sites and torch.compiler.is_compiling():
            return torch.compiler.disable(self.run)(*args, **kwargs)
        return self.run(*args, **kwargs)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The forward, with the calls changed; once, where a model calls itself."""
        inner = self.inner or type(self.module).forward.__get__(self.module)
        active = vars(_running).setdefault("active", set())
        if id(self) in active:
            return inner(*args, **kwargs)
        active.add(id(self))
        try:
            if self.rule.cuts:
                with Rejoining(self.rule.cuts) as rejoining:
                    return rejoining.back(inner(*args, **kwargs))
            with Rewiring(self.module, self.rule):
                return inner(*args, **kwargs)
        finally:
            active.discard(id(self))


class Rewiring(TorchFunctionMode):
    """Applies a rule during one forward."""

    def __init__(self, module: nn.Module, rule: Rule) -> None:
        super().__init__()
        self.module, self.rule = module, rule
        bare = {*rule.behind, *rule.adding}
        self.weights: list[tuple[Tensor, str]] = [(_held(module, n), n) for n in bare]
        self.names = rule.names
        self.turns: Counter[tuple[str, str]] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = operation_name(func)
        if name not in self.names:  # most operations are none of ours
            return func(*args, **kwargs)
        if self.rule.dropout is not None:
            args, kwargs = self._rated(name, args, kwargs)
        if self.rule.replaced or self.rule.also or self.rule.following:
            applied = nonlinearity(name, args, kwargs)
            if applied is not None:
                return self._activated(applied.name, name, func, args, kwargs)
        result = func(*args, **kwargs)
        return self._weighted(name, args, kwargs, result) if self.weights else result

    def _activated(
        self, applied: str, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        site, turn = "", 0
        if self.rule.needs_sites:
            site = call_site()
            turn = self.turns[site, applied]
            self.turns[site, applied] += 1
        result = None
        if self._is_chosen(site, applied, turn):
            new = ACTIVATIONS[self.rule.activation].function
            x = args[0] if args else kwargs["input"]
            in_place = name.endswith("_") or kwargs.get("inplace") is True
            result = written_over(x, new) if in_place else new(x)
        result = func(*args, **kwargs) if result is None else result
        for call, path in self.rule.following:
            if _among((call,), site, applied, turn):
                result = self.module.get_submodule(path)(result)
        return result

    def _is_chosen(self, site: str, applied: str, turn: int) -> bool:
        """The call becomes the rule's activation."""
        rule = self.rule
        if _among(rule.also, site, applied, turn):
            return True
        among = rule.only is None or _among(rule.only, site, applied, turn)
        return among and applied in rule.replaced and not _among(rule.spared, site, applied, turn)

    def _weighted(self, name: str, args: Any, kwargs: Any, result: Any) -> Any:
        given = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        used = [n for tensor, n in self.weights if any(tensor is g for g in given)]
        if not used or not isinstance(result, Tensor):
            return result
        if name in TURNED:
            self.weights.append((result, used[0]))
        elif name in WEIGHTED:
            if path := self.rule.behind.get(used[0]):
                result = self.module.get_submodule(path)(result)
            inputs = [g for g in given if not isinstance(g, nn.Parameter)]
            if used[0] in self.rule.adding and inputs and inputs[0].shape == result.shape:
                result = result + inputs[0]
        return result

    def _rated(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        rate = self.rule.dropout
        if name in DROPOUTS:
            old = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
            if old > 0:
                named = dict(zip(("training", "inplace"), args[2:], strict=False))
                return args[:1], named | kwargs | {"p": rate}
        elif kwargs.get("dropout_p", 0) > 0:
            kwargs = kwargs | {"dropout_p": rate}
        return args, kwargs


def _held(module: nn.Module, name: str) -> Tensor:
    """The parameter, or what torch.func.functional_call has put in its place."""
    owner, _, leaf = name.rpartition(".")
    return getattr(module.get_submodule(owner), leaf)


def _among(calls: tuple[Call, ...], site: str, name: str, turn: int) -> bool:
    return any(
        c.site == site and c.name == name and (c.turns is None or turn in c.turns) for c in calls
    )
