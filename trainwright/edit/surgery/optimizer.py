"""Does the edited model still train? Its optimiser built anew over the parameters as they are now,
and one step that is taken and taken back."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from trainwright.check.sample import first_tensor
from trainwright.check.subject import same_random_states
from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.edit.surgery.dry_run import call
from trainwright.edit.surgery.permanent import inserted
from trainwright.edit.surgery.record import Edited, Record, fingerprint

Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step that was taken back: the loss, the norm of the gradient, and the number of tensors
    that moved."""

    loss: float
    gradient_norm: float
    num_moved: int


def rebuild_optimizer(
    optimizer: Optimizer, model: nn.Module, *, before: nn.Module | None = None,
    keep_state: bool = False,
) -> Optimizer:  # fmt: skip
    """The same class and settings over the parameters of `model` as it is now.

    Parameters stay in their group; those that surgery put in join that of the layer they stand
    behind, without weight decay; those that are gone are left out, and so are those that the
    optimiser never held. With `before`, the model that the optimiser was made for, `model` may be a
    copy of it: parameters are matched by name. `keep_state`: moments of unchanged parameters go on.
    A learning rate schedule holds the old optimiser: make it anew too.
    Raises TrainwrightError for a class that torch.optim has not, or that refuses a parameter.
    """
    kind = type(optimizer)
    if not kind.__module__.startswith("torch.optim"):
        raise TrainwrightError(
            phrase("{type} is no optimiser of torch.optim", type=shown(kind.__name__)),
            allowed=phrase("optimisers of torch.optim, whose settings are known"),
            do=phrase("make it anew from model.parameters() after the edit"),
        )
    source = _source(optimizer, model, before)
    groups, place = _groups(optimizer, model, source)
    for name, parameter in model.named_parameters():
        if id(parameter) in inserted(model) and id(parameter) not in source:
            _join(groups, place, name, parameter, single=kind is LBFGS)
    asked = inspect.signature(kind.__init__).parameters
    settings = {k: v for k, v in optimizer.defaults.items() if k in asked}
    try:
        made = kind([_as_given(g) for g in groups if g["params"]], **settings)  # type: ignore[call-arg]
    except ValueError as error:
        raise TrainwrightError(
            phrase("{type} refuses the parameters: {error}", type=shown(kind.__name__),
                   error=shown(str(error))),
            allowed=phrase("parameters of the kind that the optimiser takes"),
            do=phrase("make it anew, with another one for the new parameters"),
        ) from error  # fmt: skip
    if keep_state:
        _carry_over(optimizer, made, source)
    return made


def _source(
    optimizer: Optimizer, model: nn.Module, before: nn.Module | None
) -> dict[int, tuple[nn.Parameter, Tensor]]:
    """id of a parameter of `model` -> (itself, the one that the optimiser holds for it)."""
    held = {id(p): p for group in optimizer.param_groups for p in group["params"]}
    old = dict((before or model).named_parameters())
    found: dict[int, tuple[nn.Parameter, Tensor]] = {}
    for name, parameter in model.named_parameters():
        match = parameter if id(parameter) in held else old.get(name)
        if match is not None and id(match) in held:
            found[id(parameter)] = (parameter, held[id(match)])
    if not found:
        raise TrainwrightError(
            phrase("the optimiser holds none of the model's parameters"),
            allowed=phrase("an optimiser made from the parameters of this model"),
            do=phrase("give before=, the model that it was made from"),
        )
    return found


def _groups(
    optimizer: Optimizer, model: nn.Module, source: Mapping[int, tuple[nn.Parameter, Tensor]]
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The groups over the new parameters, and the group of each by name."""
    new_of = {id(old): new for new, old in source.values()}
    names = {id(p): n for n, p in model.named_parameters()}
    groups, place = [], {}
    for number, group in enumerate(optimizer.param_groups):
        kept = [new_of[id(p)] for p in group["params"] if id(p) in new_of]
        groups.append({k: v for k, v in group.items() if k != "params"} | {"params": kept})
        place |= {names[id(p)]: number for p in kept}
        if "param_names" in group:
            groups[-1]["param_names"] = [names[id(p)] for p in kept]
    return groups, place


def _join(
    groups: list[dict[str, Any]], place: dict[str, int], name: str, parameter: nn.Parameter, *,
    single: bool,
) -> None:  # fmt: skip
    """Puts a new parameter into the group of its nearest neighbour, or its twin without decay."""
    above = name.rpartition(".")[0]
    while above and not any(n.startswith(f"{above}.") for n in place):
        above = above.rpartition(".")[0]
    near = next(n for n in place if not above or n.startswith(f"{above}."))
    group = groups[place[near]]
    if group.get("weight_decay") and not single:
        twin = {**group, "weight_decay": 0.0, "params": []}
        if "param_names" in group:
            twin["param_names"] = []
        settings = {k: v for k, v in twin.items() if k not in ("params", "param_names")}
        same = (g for g in groups if all(g.get(k) == v for k, v in settings.items()))
        if (known := next(same, None)) is None:
            groups.append(twin)
            known = twin
        group = known
    group["params"].append(parameter)
    if "param_names" in group:
        group["param_names"].append(name)


def _as_given(group: dict[str, Any]) -> dict[str, Any]:
    """As the constructor takes it: names and parameters together."""
    names = group.get("param_names")
    given = {k: v for k, v in group.items() if k != "param_names"}
    if names is not None:
        given["params"] = list(zip(names, group["params"], strict=True))
    return given


def _carry_over(
    old: Optimizer, new: Optimizer, source: Mapping[int, tuple[nn.Parameter, Tensor]]
) -> None:
    """State of parameters whose shape is unchanged. LBFGS keeps one for all of them together."""
    counts = [sum(p.numel() for g in o.param_groups for p in g["params"]) for o in (old, new)]
    if isinstance(old, LBFGS) and counts[0] != counts[1]:
        return
    for group in new.param_groups:
        for parameter in group["params"]:
            _, match = source.get(id(parameter), (None, None))
            if match is not None and match.shape == parameter.shape and match in old.state:
                new.state[parameter] = _cloned(old.state[match])


def _cloned(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {k: _cloned(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_cloned(v) for v in value]
    return value


def prove_whole(model: nn.Module, batch: tuple[Any, Any], loss: Loss, optimizer: Optimizer) -> Step:
    """One forward, backward and step on `batch` = (inputs, targets) with `loss(outputs, targets)`,
    which are then taken back: model, optimiser and random states are as before, which is asserted.

    Raises TrainwrightError where something fails, is not finite, reaches no parameter, misses a
    parameter that surgery put in, or moves nothing.
    """
    was = fingerprint(model)
    record = Record(model)
    state = {p: _cloned(s) for p, s in optimizer.state.items()}
    settings = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    try:
        with same_random_states():
            return _step(model, batch, loss, optimizer)
    finally:
        record.put_back()
        optimizer.state.clear()
        optimizer.state.update(state)
        for group, old in zip(optimizer.param_groups, settings, strict=True):
            group.update(old)
        assert fingerprint(model) == was, "a step was not taken back to the bit"


def _step(model: nn.Module, batch: tuple[Any, Any], loss: Loss, optimizer: Optimizer) -> Step:
    model.train()
    named = dict(model.named_parameters())
    new, ran = inserted(model), set[int]()
    handles = [
        m.register_forward_pre_hook(lambda m, _: ran.update(map(id, m.parameters(recurse=False))))
        for m in model.modules() if any(id(p) in new for p in m.parameters(recurse=False))
    ]  # fmt: skip
    values = {n: p.detach().clone() for n, p in named.items()}

    def closure() -> Tensor:
        optimizer.zero_grad()
        torch.manual_seed(0)  # LBFGS asks several times and wants one function: the same dropout
        outputs = call(model, batch[0])
        first = first_tensor(outputs)
        if first is None or (first.is_floating_point() and not bool(first.isfinite().all())):
            raise _broken(phrase("the outputs are not finite numbers"))
        value = loss(outputs, batch[1])
        if not bool(torch.isfinite(value.detach()).all()):
            raise _broken(phrase("the loss is not a finite number"))
        value.backward()
        return value.detach()

    try:
        with torch.enable_grad():
            value = float(closure())
            norms = [float(p.grad.norm()) for p in named.values() if p.grad is not None]
            missed = [n for n, p in named.items()
                      if id(p) in ran and p.requires_grad and p.grad is None]  # fmt: skip
            if missed or not any(norms):
                name = ", ".join(missed) or phrase("any parameter")
                raise _broken(phrase("the gradient does not reach {name}", name=name))
            optimizer.step(closure if isinstance(optimizer, LBFGS) else None)  # type: ignore[arg-type]
    except TrainwrightError:
        raise
    except Exception as error:  # the user's forward, loss or backward
        kind = type(error).__name__
        raise _broken(
            phrase("a step failed: {kind}: {error}", kind=kind, error=shown(str(error)))
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    moved = [n for n, p in named.items() if not torch.equal(p.detach(), values[n])]
    if not moved or not all(bool(named[n].detach().isfinite().all()) for n in moved):
        raise _broken(phrase("the step moved no weight, or beyond finite numbers"))
    return Step(loss=value, gradient_norm=math.hypot(*norms), num_moved=len(moved))


def _broken(what: str) -> TrainwrightError:
    return TrainwrightError(
        what,
        allowed=phrase("a model that runs forward, backward and through one step"),
        do=phrase("undo the edit, or choose another place or kind for it"),
    )


def perform(
    model: nn.Module, edit: Callable[[nn.Module], Edited], batch: tuple[Any, Any], loss: Loss,
    optimizer: Optimizer,
) -> tuple[Edited, Optimizer]:  # fmt: skip
    """An edit that is proven: done, trained for one step, undone, found to be undone to the bit,
    and done again. Returns what was done and the optimiser for it.

    Raises TrainwrightError as `edit` and `prove_whole` do; the model is then as it was.
    """
    was = fingerprint(model)
    edited = edit(model)
    try:
        prove_whole(model, batch, loss, rebuild_optimizer(optimizer, model))
    finally:
        edited.undo()
        assert fingerprint(model) == was, "an edit was not undone to the bit"
    return (edited := edit(model)), rebuild_optimizer(optimizer, model)
