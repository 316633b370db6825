"""Which layers and activations run, and what follows what? Read off dry runs over a few batches, on
a copy of the model where there can be one."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from torch import Tensor, nn

from trainwright.check.network.layers import MATMULS, After, after
from trainwright.check.network.trace import (
    DROPOUTS,
    LINEAR,
    NORMS,
    WEIGHTED,
    Node,
    layer_name,
    words,
)
from trainwright.check.subject import Subject, same_random_states
from trainwright.core.errors import TrainwrightError
from trainwright.core.facts import LayerKind
from trainwright.core.phrases import phrase
from trainwright.edit.surgery.anatomy import GROWS, Activation, Anatomy, Block, Call, Layer
from trainwright.edit.surgery.composite import composites
from trainwright.edit.surgery.dry_run import DryRun, Visit, dry_run, has_weights
from trainwright.edit.surgery.gates import is_gate
from trainwright.edit.surgery.record import check_model

RESHAPES = words(
    "view reshape flatten unflatten permute transpose movedim squeeze unsqueeze contiguous clone "
    "__getitem__ select narrow to float unbind"
)


def observe(model: nn.Module, batches: Sequence[Any]) -> Anatomy:
    """The anatomy of a model, from running it on `batches` in eval mode without gradients.

    A batch is what the model is called with: a tensor, a tuple of arguments, or a mapping of
    keyword arguments. Give several where the forward branches on data or shapes: what never runs is
    not found. The model, its buffers and all random states are left as they were.
    Raises TrainwrightError for a model that is compiled, wrapped or empty, or fails on a batch.
    """
    check_model(model)
    if isinstance(batches, (Tensor, Mapping)) or not batches:
        raise TrainwrightError(
            phrase("no batches were given"),
            allowed=phrase("a list of one or more batches, each of what the model is called with"),
            do=phrase("give [batch], or several where the forward branches"),
        )
    subject = Subject(model)
    try:
        with same_random_states():
            seen = [dry_run(subject.restore().eval(), batch) for batch in batches]
    finally:
        subject.close()
    return replace(_merged([_anatomy(run) for run in seen]), cannot_copy=cannot_copy(subject))


def cannot_copy(subject: Subject) -> str | None:
    """Why experiments run on the model itself."""
    if subject.is_copy:
        return None
    return phrase("it cannot be deep-copied, or a copy would share parts with it")


def _anatomy(run: DryRun) -> Anatomy:
    layers: dict[str, Layer] = {}
    behind: dict[int, list[str]] = {}
    taken: dict[tuple[str, str], str] = {}
    for node in run.nodes:
        if not node.layer or (node.operation not in WEIGHTED and node.operation not in NORMS):
            continue
        kind = _kind(node)
        name = taken.setdefault((node.layer, kind), _free_name(run, node, layers))
        follows = after(node, run.taken_by, len(run.nodes))
        if follows.activation is not None and kind != "norm":
            behind.setdefault(id(follows.activation), []).append(name)
        if name in layers:
            layers[name] = replace(layers[name], num_calls=layers[name].num_calls + 1)
        else:
            layers[name] = _layer(run, node, name, kind, follows)
    activations = _activations(run, behind)
    for visit, bend, before in composites(run):
        names = tuple(taken[n.layer, _kind(n)] for n in before)
        layers |= {n: replace(layers[n], activation=bend) for n in names}
        for number in range(visit.start, visit.end):
            if number in activations:
                activations[number] = replace(activations[number], part_of=visit.name, behind=())
        made = visit.made
        assert made is not None, "a composite gives a tensor"
        activations[made.number] = _whole(run, visit, made, bend, names)
    return Anatomy(
        layers=tuple(layers.values()), activations=tuple(activations.values()),
        blocks=_blocks(run, layers), head_activation=_head_activation(run, activations),
        dropout_functions=_dropouts(run),
    )  # fmt: skip


def _kind(node: Node) -> LayerKind:
    kind = "norm" if node.operation in NORMS else WEIGHTED[node.operation]
    return next((k for k in get_args(LayerKind) if k == kind), "other")


def _free_name(run: DryRun, node: Node, taken: Mapping[str, Layer]) -> str:
    """The layer's name, or another one of a tied tensor that serves as two layers."""
    if node.layer not in taken:
        return node.layer
    known = [layer_name(a) for p in node.parameters for a in run.trace.aliases.get(p, [])]
    return next((name for name in known if name not in taken), node.layer)


def _layer(run: DryRun, node: Node, name: str, kind: LayerKind, follows: After) -> Layer:
    visit = _own_visit(run, node, name)
    in_shape = visit.in_shape if visit else run.shapes.get(node.number, ())
    out_shape = visit.out_shape if visit else node.shape
    weight = _weight(run, node)
    spatial = (
        run.modules[""].get_parameter(weight).ndim - 2 if kind in ("convolution", "norm") else 0
    )
    axis = len(out_shape) - 1
    if kind == "convolution":
        axis = len(out_shape) - spatial - 1
    elif node.operation in ("batch_norm", "instance_norm", "group_norm"):
        axis = min(1, axis)
    fan_in, fan_out = _fans(run, node, kind)
    return Layer(
        name=name, kind=kind, operation=node.operation, is_module=visit is not None,
        parameters=node.parameters, weight=weight, in_shape=in_shape,
        out_shape=out_shape, channel_axis=axis, fan_in=fan_in, fan_out=fan_out,
        activation=follows.nonlinearity,
        norm=NORMS[follows.norms[0].operation] if follows.norms else None,
        norm_layer=follows.norms[0].layer if follows.norms else "",
        next_linear=follows.next_linear, in_residual=id(node) in run.residual,
        is_head=kind != "norm" and id(node) not in run.feeds, line=node.line,
    )  # fmt: skip


def _weight(run: DryRun, node: Node) -> str:
    """The name of the matrix among an operation's parameters, or of the largest."""
    found = {n: run.modules[""].get_parameter(n) for n in node.parameters}
    return max(found, key=lambda n: (found[n].ndim > 1, found[n].numel()))


def _fans(run: DryRun, node: Node, kind: LayerKind) -> tuple[int, int]:
    """Inputs of one unit, and units that one input reaches."""
    weight = run.modules[""].get_parameter(_weight(run, node))
    if weight.ndim < 2:
        return 1, weight.numel()
    if kind == "convolution":
        field = math.prod(weight.shape[2:])
        first, second = int(weight.shape[0]), int(weight.shape[1])
        if "transpose" in node.operation:
            return first * field, second * field
        return second * field, first * field
    if node.operation in MATMULS or (kind == "linear" and node.operation != "linear"):
        return int(weight.shape[-2]), int(weight.shape[-1])
    return int(weight.shape[1]), int(weight.shape[0])


def _own_visit(run: DryRun, node: Node, name: str) -> Visit | None:
    """The call of the layer's own module, if that does nothing but this layer."""
    if name not in run.modules or not any(True for _ in run.modules[name].parameters()):
        return None
    for visit in run.visits:
        if visit.name != name or not visit.start <= node.number < visit.end:
            continue
        within = [n for n in run.nodes[visit.start : visit.end] if n.from_data]
        plain = all(n is node or n.operation in LINEAR or n.number < node.number for n in within)
        alone = sum(bool(n.layer) for n in within) <= 1
        made = visit.made is not None and visit.start <= visit.made.number < visit.end
        return visit if plain and alone and made else None
    return None


def _activations(run: DryRun, behind: Mapping[int, list[str]]) -> dict[int, Activation]:
    """By number of the node."""
    turns: Counter[tuple[str, str]] = Counter()
    found: dict[int, Activation] = {}
    for node in run.nodes:
        if node.number not in run.applied:
            continue
        name, line = run.applied[node.number]
        site = Path(line).name if line else ""
        turn = turns[site, name]
        turns[site, name] += 1
        if not node.from_data:
            continue
        visit = run.inside[id(node)]
        alone = [n for n in run.nodes[visit.start : visit.end] if n.from_data]
        own = visit.name if visit.name and alone == [node] and visit.made is node else ""
        found[node.number] = Activation(
            name=name, operation=node.operation, module=own, inside=visit.name, line=line or None,
            call=Call(site=site, name=name, turns=(turn,)), behind=tuple(behind.get(id(node), ())),
            is_head=id(node) in run.to_output and id(node) not in run.feeds,
            is_gate=is_gate(run, node, name),
        )  # fmt: skip
    return found


def _whole(
    run: DryRun, visit: Visit, made: Node, bend: str, behind: tuple[str, ...]
) -> Activation:  # fmt: skip
    """A module that is a non-linearity in several steps. It is no call of a function: no site."""
    return Activation(
        name=bend, operation=made.operation, module=visit.name, inside=visit.name, line=None,
        call=Call(site="", name=f"{bend} of {visit.name}", turns=(0,)), behind=behind,
        is_head=id(made) in run.to_output and id(made) not in run.feeds,
        is_gate=is_gate(run, made, bend),
    )  # fmt: skip


def _head_activation(run: DryRun, found: Mapping[int, Activation]) -> Activation | None:
    """What makes the first output, behind reshapes only; no exponential or power."""
    node = run.outputs[0] if run.outputs else None
    while node is not None:
        here = found.get(node.number)
        if here is not None and here.is_head and here.name not in GROWS:
            return here
        data = [p for p in node.parents if p.from_data]
        node = data[0] if node.operation in RESHAPES and len(data) == 1 else None
    return None


def _blocks(run: DryRun, layers: Mapping[str, Layer]) -> tuple[Block, ...]:
    found: dict[str, Block] = {}
    for visit in sorted(run.visits, key=lambda v: (v.start, -v.end)):
        within = [n.layer for n in run.nodes[visit.start : visit.end] if has_weights(n)]
        held = tuple(name for name in dict.fromkeys(within) if name in layers)
        if visit.name and len(held) > 1 and visit.in_shape == visit.out_shape:
            found.setdefault(visit.name, Block(name=visit.name, shape=visit.out_shape, layers=held))
    return tuple(found.values())


def _dropouts(run: DryRun) -> tuple[str, ...]:
    """Lines of calls that are not made by a module of dropout."""
    found = []
    for node in run.nodes:
        if node.operation not in DROPOUTS and node.operation != "scaled_dot_product_attention":
            continue
        visit = run.inside[id(node)]
        if not type(run.modules[visit.name]).__module__.startswith("torch.nn.modules"):
            found.append(visit.name)
    return tuple(dict.fromkeys(found))


def _merged(parts: Iterable[Anatomy]) -> Anatomy:
    """All that ran on any batch, in the order of the first."""
    parts = list(parts)
    layers: dict[str, Layer] = {}
    ran = [{layer.name for layer in part.layers} for part in parts]
    for layer in (each for part in parts for each in part.layers):
        known = layers.setdefault(layer.name, layer)
        layers[layer.name] = replace(
            known, num_calls=max(known.num_calls, layer.num_calls),
            is_head=known.is_head or layer.is_head,
            in_residual=known.in_residual or layer.in_residual,
            activation=known.activation or layer.activation,
            next_linear=tuple(dict.fromkeys(known.next_linear + layer.next_linear)),
            varies=any(layer.name not in names for names in ran),
        )  # fmt: skip
    heads = [part.head_activation for part in parts if part.head_activation is not None]
    blocks = {block.name: block for part in parts for block in part.blocks}
    lines = dict.fromkeys(line for part in parts for line in part.dropout_functions)
    return Anatomy(
        layers=tuple(layers.values()), activations=_gathered(parts), blocks=tuple(blocks.values()),
        head_activation=heads[0] if heads else None, dropout_functions=tuple(lines),
    )  # fmt: skip


def _gathered(parts: Sequence[Anatomy]) -> tuple[Activation, ...]:
    """Calls that agree in all but their turn become one."""
    found: dict[Any, Activation] = {}
    for part in parts:
        here: dict[Any, Activation] = {}
        for each in part.activations:
            key = (each.module, each.inside, each.call.site, each.name, each.is_head, each.is_gate,
                   each.part_of)  # fmt: skip
            here[key] = _together(here[key], each) if key in here else each
        for key, each in here.items():
            known = found.setdefault(key, each)
            behind = tuple(dict.fromkeys(known.behind + each.behind))
            varies = known.varies or known.call.turns != each.call.turns
            found[key] = replace(known, behind=behind, varies=varies)
    return tuple(found.values())


def _together(known: Activation, new: Activation) -> Activation:
    """Two calls at the same place during one forward."""
    turns = (known.call.turns or ()) + (new.call.turns or ())
    call = replace(known.call, turns=turns)
    return replace(known, call=call, behind=known.behind + new.behind)
