"""Which non-linearities does a network get, exchange or lose? In modules, functions and methods
alike; what makes the outputs is left alone unless it is asked for."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from trainwright.core.errors import TrainwrightError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.core.words import say
from trainwright.edit.surgery.anatomy import (
    ELEMENTWISE,
    UNSUITED,
    Activation,
    Anatomy,
    Call,
    Layer,
    expression,
)
from trainwright.edit.surgery.hooks import ACTIVATIONS, InsteadActivation, Ranged
from trainwright.edit.surgery.place import TRANSFORMERS, Places, site
from trainwright.edit.surgery.record import Edited, Record
from trainwright.edit.surgery.rewire import Rule

FUSED_KINDS = {"relu": 1, "gelu": 2}  # what nn.TransformerEncoderLayer's fast path can apply
RECURRENT = {"rnn_tanh": "tanh", "rnn_relu": "relu",
             "rnn_tanh_cell": "tanh", "rnn_relu_cell": "relu"}  # fmt: skip


def insert_nonlinearity(
    model: nn.Module, anatomy: Anatomy, kind: str = "relu", *, layers: Iterable[str] | None = None
) -> Edited:
    """A non-linearity behind each layer from which only linear maps lead to the next one: two such
    layers are no more than one. Behind a norm that follows, else behind the layer itself.

    Raises TrainwrightError where no two layers stand so, or for a kind that is not known.
    Source: lecture.md, C05.
    """
    choice = ACTIVATIONS[_known(kind)]
    chosen = [each for each in anatomy.weighted(layers) if layers is not None or _is_idle(each)]
    if not chosen:
        raise TrainwrightError(
            phrase("a non-linearity already stands between all layers"),
            allowed=phrase("layers between which only linear maps stand"),
            do=phrase("name layers with `layers=` to add one anyway"),
        )
    with Record(model) as record:
        places = Places(record, anatomy)
        for layer in chosen:
            normed = layer.norm == "batch" and layer.norm_layer and layer.next_linear
            at = anatomy.layer(layer.norm_layer) if normed else layer
            places.behind(at, "nonlinearity", choice.module(), choice.code)
        places.finish()
        return record.done("insert_nonlinearity", places.changed, places.lines)


def replace_activation(
    model: nn.Module, anatomy: Anatomy, old: str | None = None, new: str = "relu", *,
    head: bool = False,
) -> Edited:  # fmt: skip
    """`new` wherever `old` runs (None: any that bends hidden units): modules, functions, methods of
    tensors, and what is fused into nn.TransformerEncoderLayer and nn.RNN. Left alone are what makes
    the outputs (unless `head`), and gates, scales and the softmax of attention (unless `old` names
    them).

    A function call is replaced wherever the forward reaches one, also in branches that the dry run
    did not take; so are modules of torch that never ran. A softmax, exponential or power that `old`
    does not name is replaced only where the dry run saw it bend hidden units.
    Raises TrainwrightError where nothing of that kind runs, or for a name that is not known.
    """
    _known(new)
    names = frozenset([old]) if old is not None else (ELEMENTWISE | UNSUITED) - {new}
    wanted = [
        a for a in anatomy.activations
        if a.name in names and not a.part_of
        and (head or not a.is_head) and (old is not None or not a.is_gate)
    ]  # fmt: skip
    cells = [each for each in anatomy.layers if _is_cell(each, names, new)]
    if not wanted and not cells:
        found = dict.fromkeys(a.name for a in anatomy.activations)
        raise TrainwrightError(
            phrase("there is no {name} to replace", name=old or phrase("activation")),
            allowed=", ".join(found) or phrase("a network with an elementwise non-linearity"),
            do=phrase("name one of these; head=True includes what makes the outputs"),
        )
    with Record(model) as record:
        calls = _calls(model, anatomy, wanted)
        changed, lines = _replace_modules(record, anatomy, wanted, calls, names, new)
        for layer in cells:
            module = model.get_submodule(layer.name)
            if hasattr(module, "mode"):
                record.attribute(module, "mode", f"RNN_{new.upper()}")
            record.attribute(module, "nonlinearity", new)
            changed.append(layer.name)
            lines.append("# " + say("surgery.recurrent", place=expression(layer.name), new=new))
        if calls:
            anywhere = names if old is not None else names - UNSUITED
            record.rewire(_rule(anatomy, wanted, calls, anywhere, new))
        for each in calls:
            changed.append(each.line or each.inside)
            lines.append(f"# {changed[-1]}: {say('surgery.call', old=each.name, new=new)}")
        return record.done("replace_activation", changed, lines)


def remove_head_activation(model: nn.Module, anatomy: Anatomy) -> Edited:
    """The outputs are what the last layer gives (logits): the softmax, sigmoid, tanh, relu, … that
    made them, module or function, is passed by.

    Raises TrainwrightError where no activation makes the outputs.
    """
    with Record(model) as record:
        changed, lines = _remove_head(record, anatomy)
        if not changed:
            raise TrainwrightError(
                phrase("no activation makes the outputs"),
                allowed=phrase("a network that ends with softmax, sigmoid, tanh, relu or the like"),
                do=phrase("leave the head as it is: it gives logits"),
            )
        return record.done("remove_head_activation", changed, lines)


def set_output_range(
    model: nn.Module, anatomy: Anatomy, low: float | None = None, high: float | None = None
) -> Edited:
    """The (first) output lies in [low, high], or, with one end, on that side of it. An activation
    that made the outputs is removed first.

    Raises TrainwrightError without any end (see `remove_head_activation`), or with low >= high.
    """
    ends = [end for end in (low, high) if end is not None]
    if not ends or (len(ends) == 2 and ends[0] >= ends[1]):
        raise TrainwrightError(
            phrase("{low} to {high} is no range", low=low, high=high),
            allowed=phrase("one end, or both with low below high"),
            do=phrase("use remove_head_activation for outputs without a range"),
        )
    with Record(model) as record:
        changed, lines = _remove_head(record, anatomy)
        hook = Ranged(low, high)
        record.hook(model, hook)
        return record.done(
            "set_output_range", [*changed, "outputs"],
            [*lines, f"# {say('surgery.range')}: {_range_code(low, high)}"],
        )  # fmt: skip


def _range_code(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"outputs = {low} + {high - low} * torch.sigmoid(outputs)"
    if low is not None:
        return f"outputs = {low} + torch.nn.functional.softplus(outputs)"
    return f"outputs = {high} - torch.nn.functional.softplus(-outputs)"


def _is_idle(layer: Layer) -> bool:
    """It could be merged with the next one."""
    return layer.kind in ("linear", "convolution") and bool(layer.next_linear)


def _known(name: str) -> str:
    if name not in ACTIVATIONS:
        raise TrainwrightError(
            phrase("there is no activation {name}", name=shown(name)),
            allowed=", ".join(ACTIVATIONS),
            do=did_you_mean(name, ACTIVATIONS),
        )
    return name


def _is_cell(layer: Layer, names: frozenset[str], new: str) -> bool:
    """A plain recurrent layer, which knows two non-linearities only."""
    now = RECURRENT.get(layer.operation)
    return layer.is_module and now in names and new in RECURRENT.values() and now != new


def _fused(model: nn.Module, activation: Activation) -> bool:
    inside = model.get_submodule(activation.inside)
    return isinstance(inside, TRANSFORMERS)


def _calls(model: nn.Module, anatomy: Anatomy, wanted: Sequence[Activation]) -> list[Activation]:
    """Those that the forward's rule replaces: functions, and modules that serve others too, which
    are kept.

    Raises TrainwrightError where such a module computes in several steps.
    """
    kept = {a.module for a in anatomy.activations if a.module and a not in wanted}
    for each in wanted:
        if each.module in kept and each.call.name != each.name:
            raise TrainwrightError(
                phrase("{name} makes the outputs too, or is a gate", name=shown(each.module)),
                allowed=phrase("a module of its own for the activation that is replaced"),
                do=phrase("give the head its own module, or ask with head=True"),
            )
    return [a for a in wanted if a.module in kept or not (a.module or _fused(model, a))]


def _rule(
    anatomy: Anatomy, wanted: Sequence[Activation], calls: Sequence[Activation],
    anywhere: frozenset[str], new: str,
) -> Rule:  # fmt: skip
    """The calls become `new`: those of the names `anywhere` also where the dry run saw none."""
    named = any(a.name in anywhere for a in calls)
    kept = [a for a in anatomy.activations if named and a.name in anywhere and a not in wanted]
    return Rule(
        replaced=anywhere if named else frozenset(), activation=new, spared=_sites(anatomy, kept),
        also=_sites(anatomy, [a for a in calls if a.name not in anywhere]),
    )  # fmt: skip


def _replace_modules(
    record: Record, anatomy: Anatomy, wanted: Sequence[Activation], calls: Sequence[Activation],
    names: frozenset[str], new: str,
) -> tuple[list[str], list[str]]:  # fmt: skip
    """Those with a module of their own, those of torch's layers, and torch's that never ran."""
    model = record.model
    changed: list[str] = []
    lines: list[str] = []
    ran = {a.module for a in anatomy.activations}
    idle = [n for n, m in model.named_modules() if n not in ran and _kind_of(m) in names]
    for name in dict.fromkeys([a.module for a in wanted if a.module and a not in calls] + idle):
        instead(record, name, new)
        changed.append(name)
        lines.append(f"{expression(name)} = {ACTIVATIONS[new].code}")
    for name in dict.fromkeys(a.inside for a in wanted if not a.module and _fused(model, a)):
        module = model.get_submodule(name)
        record.attribute(module, "activation", ACTIVATIONS[new].function)
        _forget_fast_path(record, module, new)
        changed.append(name)
        place = expression(name)
        lines.append(
            f"{place}.activation = {ACTIVATIONS[new].code}; "
            f"{place}.activation_relu_or_gelu = {FUSED_KINDS.get(new, 0)}"
        )
    return changed, lines


def instead(record: Record, name: str, new: str) -> None:
    """The module `name` applies `new`; what it was stays in place for its keys and for undo."""
    module = record.model.get_submodule(name)
    in_place = bool(getattr(module, "inplace", False))
    record.attribute(module, "forward", InsteadActivation(new, in_place=in_place))
    above = record.model.get_submodule(name.rpartition(".")[0])
    if isinstance(above, TRANSFORMERS):
        _forget_fast_path(record, above, new)


def _forget_fast_path(record: Record, module: nn.Module, new: str) -> None:
    """The fused kernel of inference applies what this number says, whatever `activation` is."""
    if hasattr(module, "activation_relu_or_gelu"):
        record.attribute(module, "activation_relu_or_gelu", FUSED_KINDS.get(new, 0))


def _kind_of(module: nn.Module) -> str:
    return next((n for n, c in ACTIVATIONS.items() if type(module) is c.module), "")


def _sites(anatomy: Anatomy, calls: Sequence[Activation]) -> tuple[Call, ...]:
    groups: dict[Any, list[Activation]] = {}
    for each in calls:
        groups.setdefault((each.call.site, each.name), []).append(each)
    return tuple(site(anatomy, group) for group in groups.values())


def _remove_head(record: Record, anatomy: Anatomy) -> tuple[list[str], list[str]]:
    found = anatomy.head_activation
    if found is None:
        return [], []
    known = next(a for a in anatomy.activations if _same(a, found))
    users = [a for a in anatomy.activations if a.module and a.module == found.module]
    if found.module and len(users) == 1:
        instead(record, found.module, "identity")
        return [found.module], [f"{expression(found.module)} = torch.nn.Identity()"]
    rule = Rule(
        replaced=frozenset([found.name]), activation="identity", only=(site(anatomy, [known]),)
    )
    record.rewire(rule)
    where = found.line or found.inside
    return [where], [f"# {where}: {say('surgery.call_out', old=found.name)}"]


def _same(one: Activation, other: Activation) -> bool:
    keys = ("module", "inside", "name", "is_head", "is_gate")
    return one.call.site == other.call.site and all(
        getattr(one, key) == getattr(other, key) for key in keys
    )
