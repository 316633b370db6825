"""How do edits become a part of the model's structure? Modules stand where hooks were, so that the
model is saved, read and run without trainwright as far as that goes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from trainwright.core.errors import TrainwrightError
from trainwright.core.phrases import phrase
from trainwright.edit.surgery.hooks import (
    ACTIVATIONS,
    AddInput,
    InsteadActivation,
    InsteadNorm,
    Ranged,
    Residual,
    Then,
)
from trainwright.edit.surgery.place import TRANSFORMERS
from trainwright.edit.surgery.record import check_model, close_for_good
from trainwright.edit.surgery.rewire import Rewired, Rule

FIRST = "layer"  # the name of what was there, in the Sequential that takes its place
PARTS = {"norm", "nonlinearity", "dropout", "deeper"}  # names of what operations put in
SEVERAL_OUTPUTS = (nn.RNNBase, nn.MultiheadAttention)
READ_INSIDE = (*TRANSFORMERS, nn.MultiheadAttention)  # their forwards read `.weight` of children


@dataclass(frozen=True, slots=True, kw_only=True)
class Permanent:
    """The same `model`, changed; keys of its state_dict that are `renamed` (old -> new) or
    `dropped`; and where edits are `left` as hooks, or as a changed forward, because no module can
    stand for them."""

    model: nn.Module
    renamed: Mapping[str, str]
    dropped: tuple[str, ...]
    left: tuple[str, ...]


def make_permanent(model: nn.Module) -> Permanent:
    """A module in the place of each hook. A layer with parts behind it becomes a Sequential of
    `layer` and the parts (`fc1.weight` -> `fc1.layer.weight`; `fc1.norm.weight` stays); an
    activation that was replaced becomes the new one, keys unchanged. Earlier edits can no longer be
    undone, and forwards that read `fc1.weight` themselves no longer run.

    Left as they are: functions in the forward, layers with several outputs, layers whose weights
    torch's Transformer layers read, and what stands at the model itself.
    Raises TrainwrightError for a model without edits that a module can stand for.
    """
    check_model(model)
    keys, paths = _keys(model), {id(m): n for n, m in model.named_modules()}
    places = [(n, m) for n, m in model.named_modules() if _is_edited(m)]
    swapped = [(n, m) for n, m in places if _can_swap(model, n, m)]
    if not swapped:
        raise TrainwrightError(
            phrase("no module can stand for an edit of this model"),
            allowed=phrase("edits at modules below the model itself"),
            do=phrase("keep the hooks: the model can be copied and pickled with them"),
        )
    known = {paths[i]: i for i in paths}
    for _, module in swapped:
        _put(model, module, _built(module))
    now = _keys(model)
    renamed = {old: new for i in keys for old, new in zip(keys[i], now.get(i, ()), strict=False)
               if old != new}  # fmt: skip
    after = {id(m): n for n, m in model.named_modules()}
    moved = {old: after[i] for old, i in known.items() if i in after}
    for rewired in _rewired(model):
        rewired.rule = _readdressed(rewired.rule, renamed, moved)
    close_for_good(model)
    return Permanent(
        model=model, renamed=renamed,
        dropped=tuple(k for i in keys if i not in now for k in keys[i]),
        left=tuple(n or "forward" for n, m in places if (n, m) not in swapped),
    )  # fmt: skip


def inserted(model: nn.Module) -> set[int]:
    """Ids of the parameters that surgery put in, by hooks, by rules or for good."""
    parts: list[nn.Module] = []
    for module in model.modules():
        hooks = module._forward_hooks.values()
        parts += [getattr(module, h.child) for h in hooks if isinstance(h, Then)]
        if type(module) is nn.Sequential and _is_ours(list(module._modules)):
            parts += list(module)[1:]
    for rewired in _rewired(model):
        paths = [*rewired.rule.behind.values(), *(path for _, path in rewired.rule.following)]
        parts += [model.get_submodule(path) for path in paths]
    return {id(p) for part in parts for p in part.parameters()}


def _is_ours(names: list[str]) -> bool:
    """The names of a Sequential that stands for hooks: `layer`, then parts."""
    return names[:1] == [FIRST] and {n.partition("_")[0] for n in names[1:]} <= PARTS


def _rewired(model: nn.Module) -> Iterator[Rewired]:
    """The changed forwards of the model, the latest first."""
    forward: Any = vars(model).get("forward")
    while isinstance(forward, Rewired):
        yield forward
        forward = forward.inner


def _ours(module: nn.Module) -> list[Then | AddInput]:
    return [h for h in module._forward_hooks.values() if isinstance(h, (Then, AddInput))]


def _is_edited(module: nn.Module) -> bool:
    forward = vars(module).get("forward")
    ranged = any(isinstance(h, Ranged) for h in module._forward_hooks.values())
    stands = isinstance(forward, (InsteadActivation, InsteadNorm, Rewired))
    return bool(_ours(module)) or ranged or stands


def _can_swap(model: nn.Module, path: str, module: nn.Module) -> bool:
    if not path or isinstance(module, SEVERAL_OUTPUTS):
        return False
    above = model.get_submodule(path.rpartition(".")[0])
    return not isinstance(above, READ_INSIDE) or not any(True for _ in module.parameters())


def _built(module: nn.Module) -> nn.Module:
    """What takes the module's place; its hooks of ours are removed."""
    forward = vars(module).pop("forward", None)
    made = module
    if isinstance(forward, InsteadActivation):
        made = ACTIVATIONS[forward.name].module()
    elif isinstance(forward, InsteadNorm):
        made = _group_norm(module, forward.groups)
    elif forward is not None:
        vars(module)["forward"] = forward  # the user's own
    parts: dict[str, nn.Module] = {FIRST: made}
    for hook in _ours(module):
        assert hook.handle is not None, "a hook knows its handle"
        hook.handle.remove()
        if isinstance(hook, Then):
            parts[hook.child] = getattr(module, hook.child)
            delattr(module, hook.child)
        else:
            parts = {FIRST: Residual(_in_turn(parts))}
    return _in_turn(parts).train(module.training)


def _in_turn(parts: dict[str, nn.Module]) -> nn.Module:
    if len(parts) == 1:
        return parts[FIRST]
    made = nn.Sequential()
    for name, part in parts.items():
        made.add_module(name, part)
    return made


def _group_norm(module: Any, groups: int) -> nn.Module:
    """With the batch norm's own parameters."""
    made = nn.GroupNorm(groups, module.num_features, module.eps, affine=module.affine)
    made.weight, made.bias = module.weight, module.bias
    return made


def _put(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """At every place where the old one is known."""
    for parent in list(model.modules()):
        if parent is new or parent in list(new.modules()):
            continue
        for name, child in parent._modules.items():
            if child is old:
                parent._modules[name] = new


def _keys(model: nn.Module) -> dict[int, list[str]]:
    """id of a tensor -> its names in the state_dict."""
    found: dict[int, list[str]] = {}
    held: Mapping[str, Tensor] = model.state_dict(keep_vars=True)
    for name, tensor in held.items():
        found.setdefault(id(tensor), []).append(name)
    return found


def _readdressed(rule: Rule, keys: Mapping[str, str], paths: Mapping[str, str]) -> Rule:
    """The rule, with the new names of parameters and parts."""
    return replace(
        rule,
        behind={keys.get(k, k): paths.get(p, p) for k, p in rule.behind.items()},
        following=tuple((call, paths.get(p, p)) for call, p in rule.following),
        adding=frozenset(keys.get(k, k) for k in rule.adding),
    )
