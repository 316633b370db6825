"""What was done to a model, and how is it undone to the bit? Every act of surgery goes through a
Record, which notes the state before."""

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

from trainwright.check.subject import Subject, sample_device, unwrapped
from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.edit.surgery.hooks import AddInput, Ranged, Then
from trainwright.edit.surgery.rewire import Rewired, Rule

# Weakly on both sides: a model and its saved weights go when the user lets go of them.
_open: WeakKeyDictionary[nn.Module, list[ref["Record"]]] = WeakKeyDictionary()
MISSING: Any = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """One operation on a model: which parts it `changed`, and the `lines` that a user would write
    in their own code, `model` being the network, where the operation can be written so."""

    operation: str
    changed: tuple[str, ...]
    lines: tuple[str, ...] = ()
    record: "Record" = field(repr=False, compare=False)

    def undo(self) -> None:
        """Weights, buffers, gradients, hooks, attributes and flags as they were before, to the
        bit, whatever was trained since. Once done, a second call does nothing.

        Raises TrainwrightError where a later edit of the same model is still there.
        """
        self.record.undo()


class Record:
    """The acts of one operation, undone in reverse order; at once where the operation fails."""

    def __init__(self, model: nn.Module) -> None:
        check_model(model)
        self.model = model
        self._acts: list[Callable[[], None]] = []
        self.is_open = True
        self._modes = [(m, m.training) for m in model.modules()]
        self._tensors = [
            (m, kind, name, tensor, tensor.detach().clone())
            for m in model.modules()
            for kind in ("_parameters", "_buffers")
            for name, tensor in vars(m)[kind].items()
            if tensor is not None
        ]
        self._flags = [(p, p.requires_grad, p.grad, _copied(p.grad)) for p in model.parameters()]

    def __enter__(self) -> "Record":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if error is not None:
            self.put_back()
        elif self._acts:
            _open.setdefault(self.model, []).append(ref(self))

    def hook(self, module: nn.Module, hook: Then | AddInput | Ranged) -> None:
        """After the module's forward, behind earlier hooks."""
        named = isinstance(hook, AddInput)
        hook.handle = module.register_forward_hook(hook, with_kwargs=named)
        self._acts.append(hook.handle.remove)

    def child(self, owner: nn.Module, wanted: str, child: nn.Module) -> str:
        """Gives `owner` a child by that name, or by `wanted_2`, …; returns the name."""
        name, number = wanted, 1
        while hasattr(owner, name):
            number += 1
            name = f"{wanted}_{number}"
        like = next(owner.parameters(recurse=False), None)
        if like is None:
            like = next(self.model.parameters())
        child.to(device=like.device, dtype=like.dtype if like.is_floating_point() else None)
        owner.add_module(name, child.train(owner.training))
        self._acts.append(lambda: owner.__delattr__(name))
        return name

    def attribute(self, module: nn.Module, name: str, value: Any) -> None:
        """Sets a plain attribute."""
        old = vars(module).get(name, MISSING)
        vars(module)[name] = value
        self._acts.append(lambda: _set_back(module, name, old))

    def register(self, module: nn.Module, name: str, made: nn.Module | nn.Parameter) -> None:
        """`made` in the place of a plain attribute. Undone with the tensors that were hidden there.

        Raises AttributeError where the class does not let the attribute be set.
        """
        old = vars(module)[name]
        tensors = [*made.parameters(), *made.buffers()] if isinstance(made, nn.Module) else [made]
        kept = [(t, t.detach().clone(), t.requires_grad, t.grad, _copied(t.grad)) for t in tensors]
        if isinstance(made, nn.Module):
            made.train(module.training)
        del vars(module)[name]
        try:
            setattr(module, name, made)
        except Exception:
            vars(module)[name] = old
            raise

        def back() -> None:
            delattr(module, name)
            vars(module)[name] = old
            with torch.no_grad():
                for tensor, value, trains, grad, slope in kept:
                    _set(tensor, value)
                    tensor.requires_grad_(trains)
                    tensor.grad = grad
                    if grad is not None and slope is not None:
                        _set(grad, slope)

        self._acts.append(back)

    def rewire(self, rule: Rule) -> None:
        """The model's forward runs under the rule, outside of earlier ones."""
        inner = vars(self.model).get("forward")
        self.attribute(self.model, "forward", Rewired(self.model, rule, inner))

    def touch(self) -> None:
        """Weights are changed in place: nothing else is to be undone."""
        self._acts.append(lambda: None)

    def done(self, operation: str, changed: list[str], lines: list[str]) -> Edited:
        """The value that the operation returns."""
        assert changed, f"{operation} changed nothing and did not say so"
        names, code = tuple(dict.fromkeys(changed)), tuple(dict.fromkeys(lines))
        return Edited(operation=operation, changed=names, lines=code, record=self)

    def undo(self) -> None:
        """As `Edited.undo`."""
        if not self.is_open:
            return
        later = _open.get(self.model, [])
        if not later or later[-1]() is not self:
            raise TrainwrightError(
                phrase("the edit cannot be undone: the model was edited again since, or for good"),
                allowed=phrase("edits are undone from the last to the first"),
                do=phrase("undo the later edits first"),
            )
        later.pop()
        self.put_back()

    def put_back(self) -> None:
        """All acts and values undone, whatever came later."""
        self.is_open = False
        for act in reversed(self._acts):
            act()
        with torch.no_grad():
            for module, kind, name, tensor, value in self._tensors:
                vars(module)[kind][name] = tensor
                _set(tensor, value)
            for parameter, trains, grad, value in self._flags:
                parameter.requires_grad_(trains)
                parameter.grad = grad
                if grad is not None and value is not None:
                    _set(grad, value)
        for module, training in self._modes:
            module.training = training


def close_for_good(model: nn.Module) -> None:
    """What was edited so far can no longer be undone."""
    _open.pop(model, None)


def copied(model: nn.Module) -> nn.Module:
    """A deep copy, edits included.

    Raises TrainwrightError for a model of which none can be made, or whose copy would go on using
    parts of the original.
    """
    if not Subject(model).is_copy:
        raise TrainwrightError(
            phrase("{type} cannot be deep-copied", type=shown(type(model).__name__)),
            allowed=phrase("modules that hold no open files, locks, or functions over other parts"),
            do=phrase("give a function that builds the model anew"),
        )
    return copy.deepcopy(model)


def check_model(model: nn.Module) -> None:
    """Raises TrainwrightError for what cannot be operated on."""
    if not isinstance(model, nn.Module):
        raise TrainwrightError(
            phrase("surgery got a {kind} as model", kind=shown(type(model).__name__)),
            allowed=phrase("a torch.nn.Module"),
            do=phrase("give the module that is trained"),
        )
    if unwrapped(model) is not model or isinstance(model, torch.jit.ScriptModule):
        raise TrainwrightError(
            phrase("{type} is compiled or wrapped", type=shown(type(model).__name__)),
            allowed=phrase("the plain module: what is compiled does not see later changes"),
            do=phrase("edit the module first, then compile or wrap it"),
        )
    sample_device(model)


def fingerprint(model: nn.Module) -> str:
    """A hash of all that an operation may touch: parameters, buffers and gradients by name to the
    bit, flags, names of attributes and children, numbers of hooks."""
    found = hashlib.sha256()
    for path, module in model.named_modules():
        hooks = {k: len(v) for k, v in vars(module).items() if k.endswith("_hooks")}
        plain = sorted(k for k in vars(module) if not k.startswith("_"))
        held = (path, module.training, sorted(hooks.items()), plain, list(module._modules))
        found.update(repr(held).encode())
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    for name, tensor in tensors:
        found.update(repr((name, tensor.requires_grad, tensor.dtype, tensor.shape)).encode())
        for value in (tensor, tensor.grad if tensor.is_leaf else None):
            found.update(b"none" if value is None else _bytes(value))
    return found.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _set_back(module: nn.Module, name: str, old: Any) -> None:
    if old is MISSING:
        del vars(module)[name]
    else:
        vars(module)[name] = old


def _copied(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().clone()


def _set(tensor: Tensor, value: Tensor) -> None:
    if (tensor.shape, tensor.dtype, tensor.device) == (value.shape, value.dtype, value.device):
        tensor.copy_(value)
    else:  # it was moved or converted since
        tensor.data = value.clone()
