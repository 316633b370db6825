"""Which layers does a network keep where `parameters()` cannot see them? In plain lists, tuples and
dicts, or as bare tensors: they become the containers of torch that register them."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.core.words import say
from trainwright.edit.surgery.anatomy import Anatomy
from trainwright.edit.surgery.record import Edited, Record

DEPTH = 4  # of containers within each other, as `check` looks [assumed]
PLAIN = (list, tuple, dict)
OWN = frozenset(vars(nn.Module()))  # what torch itself keeps in a module


class _Unfit(Exception):
    """Why something cannot be registered, as a phrase."""


def register(model: nn.Module, anatomy: Anatomy | None = None) -> Edited:
    """Lists and tuples of layers become nn.ModuleList, dicts nn.ModuleDict, those of tensors
    nn.ParameterList and nn.ParameterDict, a bare tensor with requires_grad an nn.Parameter: the
    same layers and numbers, reached in the forward as before. What holds nothing trainable is left
    alone (a frozen teacher in a list), and so is what is registered elsewhere.

    The keys of the state_dict grow. What cannot be registered is said in a line.
    Raises TrainwrightError where nothing can, or nothing is hidden.
    """
    with Record(model) as record:
        changed: list[str] = []
        lines: list[str] = []
        reasons: dict[str, str] = {}
        while (found := _next(model, reasons)) is not None:
            path, owner, key = found
            place = f"{path}.{key}" if path else key
            try:
                if key not in vars(owner):
                    raise _Unfit(phrase("{type} keeps it in __slots__",
                                           type=shown(type(owner).__name__)))  # fmt: skip
                value = vars(owner)[key]
                record.register(owner, key, _registered(value))
            except _Unfit as error:
                reasons[place] = str(error)
                continue
            except (TypeError, KeyError, AttributeError) as error:  # torch, or the user's class
                reasons[place] = shown(str(error.args[0]) if error.args else str(error))
                continue
            changed.append(place)
            code = _written(value, f"self.{key}")
            lines.append(f"self.{key} = {code}  # {type(owner).__name__}.__init__")
        if not changed:
            raise _nothing(reasons)
        lines += [f"# {place}: {say('surgery.unregistered', reason=reason)}"
                  for place, reason in reasons.items()]  # fmt: skip
        return record.done("register", changed, lines)


def hidden(value: Any, depth: int = DEPTH) -> Iterator[Tensor]:
    """The tensors of an attribute that register nowhere by themselves: of modules in plain
    containers, parameters among them, and leaves that ask for a gradient."""
    if isinstance(value, nn.Module):
        yield from value.parameters()
    elif isinstance(value, Tensor):
        if value.is_leaf and value.requires_grad:
            yield value
    elif isinstance(value, PLAIN) and depth:
        for item in _items(value):
            yield from hidden(item, depth - 1)


def hides(model: nn.Module) -> bool:
    """Something trainable lies where `parameters()` does not see it."""
    return _next(model, {}) is not None


def _next(model: nn.Module, reasons: Mapping[str, str]) -> tuple[str, nn.Module, str] | None:
    """(path, module, attribute) of the next that holds trainable tensors which are not known."""
    known = {id(p) for p in model.parameters()}
    for path, module in model.named_modules():
        for key, value in _attributes(module):
            place = f"{path}.{key}" if path else key
            if place in reasons or not isinstance(value, (*PLAIN, Tensor)):
                continue
            if any(t.requires_grad and id(t) not in known for t in hidden(value)):
                return path, module, key
    return None


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """The user's own, those in slots among them."""
    yield from ((key, value) for key, value in vars(module).items() if key not in OWN)
    for kind in type(module).__mro__:
        slots = vars(kind).get("__slots__", ())
        for key in (slots,) if isinstance(slots, str) else slots:
            if hasattr(module, key):
                yield key, getattr(module, key)


def _registered(value: Any) -> Any:
    """The container, or the parameter, in the place of `value`.

    Raises _Unfit with the reason, or what torch raises, where there is none for it.
    """
    if isinstance(value, Tensor):
        return nn.Parameter(value)
    items = _items(value)
    bare = _is_bare(items)
    members: list[Any] = [_parameter(item) if bare else _member(item) for item in items]
    if isinstance(value, dict):
        named = dict(zip(_named(value), members, strict=True))
        return nn.ParameterDict(named) if bare else nn.ModuleDict(named)
    return nn.ParameterList(members) if bare else nn.ModuleList(members)


def _written(value: Any, code: str) -> str:
    """How a user makes the container of `value`, which `code` is: one comprehension where all
    within are made alike, else each by its place."""
    if isinstance(value, Tensor):
        return f"torch.nn.Parameter({code})"
    items = _items(value)
    kind = ("Parameter" if _is_bare(items) else "Module") + (
        "Dict" if isinstance(value, dict) else "List")  # fmt: skip
    within = {_written(item, "each") for item in items if isinstance(item, PLAIN)}
    if len(within) == 1 and all(isinstance(item, PLAIN) for item in items):
        each = within.pop()
        code = (f"{{key: {each} for key, each in {code}.items()}}" if isinstance(value, dict)
                else f"{each} for each in {code}")  # fmt: skip
    elif within:
        places = list(value) if isinstance(value, dict) else range(len(items))
        parts = [_written(item, f"{code}[{place!r}]") if isinstance(item, PLAIN)
                 else f"{code}[{place!r}]"
                 for place, item in zip(places, items, strict=True)]  # fmt: skip
        named = [f"{place!r}: {part}" for place, part in zip(places, parts, strict=True)]
        is_dict = isinstance(value, dict)
        code = f"{{{', '.join(named)}}}" if is_dict else f"[{', '.join(parts)}]"
    return f"torch.nn.{kind}({code})"


def _items(value: Any) -> list[Any]:
    return list(value.values() if isinstance(value, dict) else value)


def _is_bare(items: list[Any]) -> bool:
    """Tensors alone."""
    return bool(items) and all(isinstance(item, Tensor) for item in items)


def _member(item: Any) -> nn.Module:
    if isinstance(item, nn.Module) or item is None:
        return item  # pyright: ignore[reportReturnType]  # torch keeps a None in its place
    if isinstance(item, PLAIN):
        return _registered(item)
    raise _Unfit(phrase("{value} among them is no module", value=shown(repr(item)[:40])))


def _parameter(tensor: Tensor) -> nn.Parameter:
    if not tensor.is_leaf:
        raise _Unfit(phrase("a tensor among them is computed from others"))
    if isinstance(tensor, nn.Parameter):
        return tensor
    return nn.Parameter(tensor, requires_grad=tensor.requires_grad)


def _named(value: Mapping[Any, Any]) -> Mapping[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise _Unfit(phrase("the key {key} is no word", key=shown(repr(key))))
        if not key or "." in key or hasattr(nn.ModuleDict, key):
            raise _Unfit(phrase("torch takes no module by the name {key}", key=shown(key)))
    return value


def _nothing(reasons: Mapping[str, str]) -> TrainwrightError:
    first = next(iter(reasons), "")
    return TrainwrightError(
        phrase("{place} cannot be registered: {reason}", place=shown(first), reason=reasons[first])
        if reasons else phrase("every parameter is registered"),
        allowed=phrase("lists, tuples and dicts with names as keys, of layers or of parameters"),
        do=phrase("keep the layers in nn.ModuleList or nn.ModuleDict"),
    )  # fmt: skip
