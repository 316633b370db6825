"""What is each layer with weights like, and what lies between it and the next? Read off one traced
pass: initialisation, activations at the weights as given, gradients, non-linearities."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from trainwright.check.network.trace import (
    ACTIVATIONS,
    JOINS,
    LINEAR,
    NORMS,
    PRODUCTS,
    WEIGHTED,
    Node,
    Trace,
    consumers,
    layer_name,
    words,
)
from trainwright.core.facts import LayerFacts, LayerKind
from trainwright.model.nonlinearity import nonlinearity

MOST_VALUES = 2**18  # of one tensor that statistics look at [assumed]
TRUE_ACTIVATIONS = words(
    "relu relu_ relu6 leaky_relu leaky_relu_ prelu rrelu elu elu_ selu selu_ celu gelu silu mish "
    "sigmoid sigmoid_ tanh tanh_ softsign softplus hardtanh hardtanh_ hardsigmoid hardswish "
    "softmax"
)
MATMULS = words("matmul __matmul__ mm bmm addmm baddbmm einsum")
POOLS = words("max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d "
                  "adaptive_max_pool3d max amax boolean_dispatch max_pool1d_with_indices "
                  "max_pool2d_with_indices max_pool3d_with_indices")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """What follows a layer on its way to the next ones."""

    activation: Node | None = None
    nonlinearity: str | None = None
    has_norm: bool = False
    norms: tuple[Node, ...] = ()
    next_linear: tuple[str, ...] = ()  # layers reached through linear maps only
    joins_skip: bool = False


def thinned(values: Tensor) -> Tensor:
    """At most MOST_VALUES numbers: fewer examples first, in double precision."""
    values = values.detach()
    if values.ndim and values.numel() > MOST_VALUES and len(values) > 1:
        values = values[: max(1, len(values) * MOST_VALUES // values.numel())]
    flat = values.reshape(-1)
    return flat[:: max(1, flat.numel() // MOST_VALUES)].double()


def output_statistics(
    name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor | None
) -> dict[str, float]:
    """Mean and sd of a layer's outputs."""
    if output is None or not output.is_floating_point() or output.numel() < 2:
        return {}
    values = thinned(output)
    return {"mean": float(values.mean()), "sd": float(values.std(unbiased=False))}


def flatness(
    name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor | None
) -> dict[str, float]:
    """Of an activation's arguments: mean, sd, share in its flat part, share of units that no
    example lifts out of it. Units lie on axis 1 of [batch, unit, …], where the layer is a
    convolution or the tensor a matrix; on the last one otherwise (both are told)."""
    x = next((a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)), None)
    if x is None or not x.is_floating_point() or x.numel() < 2 or x.ndim < 1:
        return {}
    x = x.detach()
    found = output_statistics(name, args, kwargs, x)
    applied = nonlinearity(name, args, kwargs)
    if applied is None or applied.name == "leaky_relu":  # below zero it still learns
        return found
    low, high, one_sided = applied.low, applied.high, applied.name == "relu6"
    below = x <= low if low is not None else torch.zeros_like(x, dtype=torch.bool)
    above = x >= high if high is not None else torch.zeros_like(below)
    if low is not None and (high is None or one_sided) and x.ndim >= 2:
        for key, axis in (("dead_first", 1), ("dead_last", x.ndim - 1)):
            others = [a for a in range(x.ndim) if a != axis]
            found[key] = float(below.all(dim=others).double().mean())
    if low is not None and high is not None:
        flat = above if one_sided else below | above
        found["saturated"] = float(flat.double().mean())
    return found


def after(layer: Node, taken_by: Mapping[int, list[Node]], end: int) -> After:
    """Follow a layer's outputs through linear maps, norms and joins up to non-linearities and the
    next layers; `end` is the number of the first operation that is not the model's."""
    waiting: list[tuple[Node, bool, bool]] = [(layer, True, False)]
    met: set[int] = set()
    activation, name, norms, following, skips = None, None, [], [], False
    while waiting:
        current, linear, joined = waiting.pop(0)
        for node in sorted(taken_by.get(id(current), []), key=lambda n: n.number):
            if id(node) in met or node.number >= end:
                continue
            met.add(id(node))
            operation = node.operation
            if node.layer and operation not in NORMS:
                mergeable = linear and not joined and operation in WEIGHTED
                following += [node.layer] if mergeable else []
            elif operation in NORMS:
                norms += [node] if name is None else []
                affine = linear and NORMS[operation] == "batch"
                waiting.append((node, affine, joined))
            elif operation in ACTIVATIONS:
                own = None if _is_gate(node, taken_by) else node
                activation = activation if name is not None else own
                name = name or ("gated" if own is None else operation.rstrip("_"))
            elif operation in PRODUCTS and _multiplies(node):
                name = name or "product"
            elif operation in LINEAR:
                join = operation in JOINS and sum(p.from_data for p in node.parents) > 1
                skips |= join and operation not in ("cat", "concat", "stack")
                waiting.append((node, linear, joined or join))
            elif operation in POOLS:
                waiting.append((node, False, joined))
            elif not node.is_cut:
                name = name or operation
    return After(activation=activation, nonlinearity=name, has_norm=bool(norms),
                 norms=tuple(norms), next_linear=tuple(following), joins_skip=skips)  # fmt: skip


def _is_gate(node: Node, taken_by: Mapping[int, list[Node]]) -> bool:
    """An activation's result is multiplied by something else that depends on the data."""
    return any(_multiplies(n) for n in taken_by.get(id(node), []))


def _multiplies(node: Node) -> bool:
    """A product (or a quotient) of two things that both depend on the data."""
    return node.operation in PRODUCTS and sum(p.from_data for p in node.parents) > 1


def repeated(nodes: list[Node], end: int) -> tuple[str, ...]:
    """Layers after which one activation is fed to another with no weights between."""
    found: list[str] = []
    for node in nodes[:end]:
        if node.operation not in TRUE_ACTIVATIONS or not node.from_data:
            continue
        above = _back(node)
        if above is None or above.operation not in TRUE_ACTIVATIONS:
            continue
        layer: Node | None = above
        while layer is not None and not layer.layer:
            layer = next((p for p in layer.parents if p.from_data), None)
        found.append(layer.layer if layer is not None else "input")
    return tuple(dict.fromkeys(found))


def _back(node: Node) -> Node | None:
    """The first operation above that is more than a reshape, a pool or a scale."""
    current: Node | None = node
    while current is not None:
        above = [p for p in current.parents if p.from_data]
        current = above[0] if len(above) == 1 else None
        if current is None or current.layer:
            return None
        if current.operation not in LINEAR and current.operation not in POOLS:
            return current
        if current.operation in JOINS and current.parameters:
            return None
    return None


def layer_facts(
    module: nn.Module, trace: Trace, end: int, *, gradients: Mapping[str, Tensor | None],
    output_gradient: Mapping[int, float],
) -> tuple[LayerFacts, ...]:  # fmt: skip
    """Layers in the order in which they first ran; `output_gradient` by id of the node."""
    weights = dict(module.named_parameters(remove_duplicate=False))
    taken_by = consumers(trace.nodes)
    facts: dict[str, LayerFacts] = {}
    for node in trace.nodes[:end]:
        if not node.layer:
            continue
        if node.layer in facts and facts[node.layer].kind != _kind(node):
            node.layer = _other_name(node, trace, facts)  # one tensor serves as two layers
        if node.layer in facts:
            continue
        own = {n: weights[n] for n in node.parameters if n in weights}
        follows = after(node, taken_by, end)
        facts[node.layer] = _one(node, own, follows, weights, gradients, output_gradient)
    return tuple(facts.values())


def _other_name(node: Node, trace: Trace, taken: Mapping[str, LayerFacts]) -> str:
    """The name under which a tied tensor is also known, if it has one that is free."""
    known = [layer_name(a) for p in node.parameters for a in trace.aliases.get(p, [])]
    return next((name for name in known if name not in taken), node.layer)


def _one(
    node: Node, own: Mapping[str, Tensor], follows: After, weights: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor | None], output_gradient: Mapping[int, float],
) -> LayerFacts:  # fmt: skip
    kind = _kind(node)
    matrices = [p for p in own.values() if p.ndim >= 2] or list(own.values())
    weight = max(matrices, key=Tensor.numel).detach()
    bias = [p.detach() for n, p in own.items() if "bias" in n.rsplit(".", 1)[-1]]
    fan_in, fan_out = _fans(node, weight, matrices)
    grads = [g for n in own if (g := gradients.get(n)) is not None]
    scaled = kind not in ("norm", "embedding")
    at = follows.activation.seen if follows.activation is not None else node.seen
    dead = at.get("dead_first" if kind == "convolution" or _is_matrix(node) else "dead_last")
    zero = scaled and not bool(weight.any())
    scales = [weights[n] for norm in follows.norms for n in norm.parameters
              if n in weights and "bias" not in n]  # fmt: skip
    zero = zero or any(not bool(s.any()) for s in scales)
    rows = weight.reshape(len(weight), -1) if weight.ndim >= 2 else weight[None]
    recurrent = {"recurrent": "tanh", "attention": "attention"}.get(kind)
    return LayerFacts(
        name=node.layer, kind=kind, fan_in=fan_in, fan_out=fan_out, line=node.line,
        units=_units(node, weight),
        nonlinearity=recurrent or follows.nonlinearity,
        weight_sd=float(weight.double().std(unbiased=False)) if weight.numel() > 1 else None,
        he_sd=math.sqrt(2 / max(1, fan_in)) if scaled else None,
        rows_equal=scaled and len(rows) > 1 and bool((rows == rows[:1]).all()),
        constant=scaled and weight.numel() > 1 and bool((weight == weight.reshape(-1)[0]).all()),
        bias_high=max((float(b.abs().max()) for b in bias if b.numel()), default=None),
        bias_mean=float(bias[0].double().mean()) if bias and bias[0].numel() else None,
        preactivation_sd=at.get("sd", node.seen.get("sd")),
        preactivation_mean=at.get("mean", node.seen.get("mean")),
        dead_share=dead, saturated_share=at.get("saturated"),
        gradient_rms=output_gradient.get(id(node)),
        weight_gradient_norm=float(torch.stack([g.double().norm() for g in grads]).norm())
        if grads else None,
        residual_start=zero and follows.joins_skip, has_norm=follows.has_norm,
    )  # fmt: skip


def _kind(node: Node) -> LayerKind:
    kind = "norm" if node.operation in NORMS else WEIGHTED.get(node.operation, "other")
    return next((k for k in get_args(LayerKind) if k == kind), "other")


def _is_matrix(node: Node) -> bool:
    return len(node.shape) == 2


def _fans(node: Node, weight: Tensor, matrices: list[Tensor]) -> tuple[int, int]:
    """Inputs of one unit, and outputs that one input reaches."""
    if weight.ndim < 2:
        return 1, int(weight.numel())
    if node.operation in MATMULS:
        return int(weight.shape[-2]), int(weight.shape[-1])
    field = int(weight[0, 0].numel()) if weight.ndim > 2 else 1
    if "transpose" in node.operation:
        return int(weight.shape[0]) * field, int(weight.shape[1]) * field
    if _kind(node) == "recurrent":
        return sum(int(m.shape[1]) for m in matrices[:2]), int(weight.shape[0])
    return int(weight.shape[1]) * field, int(weight.shape[0]) * field


def _units(node: Node, weight: Tensor) -> int:
    """Units or channels that come out."""
    if weight.ndim < 2:
        return int(weight.numel())
    if node.operation in MATMULS:
        return int(weight.shape[-1])
    return int(weight.shape[1 if "transpose" in node.operation else 0])


def linear_pairs(trace: Trace, end: int) -> tuple[tuple[str, str], ...]:
    """Layers that with the next one are a single linear map: nothing bends between them."""
    taken_by = consumers(trace.nodes)
    pairs: list[tuple[str, str]] = []
    for node in trace.nodes[:end]:
        if node.layer and _kind(node) in ("linear", "convolution"):
            pairs += [(node.layer, name) for name in after(node, taken_by, end).next_linear]
    return tuple(dict.fromkeys(pairs))
