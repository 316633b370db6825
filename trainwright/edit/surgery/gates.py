"""Does a non-linearity bend hidden units, or does it weigh, scale or guard other values? Told by
what it is computed from and by what takes its results."""

from trainwright.check.network.layers import MATMULS, POOLS
from trainwright.check.network.trace import LINEAR, NORMS, PRODUCTS, Node, words
from trainwright.edit.surgery.anatomy import ELEMENTWISE, UNSUITED
from trainwright.edit.surgery.dry_run import DryRun, has_weights

LETS_THROUGH = ("sigmoid", "hardsigmoid")  # what is multiplied by one is let through or not
MIXES = words("mean sum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
              "adaptive_avg_pool3d fold")  # fmt: skip
PASSES = LINEAR - MIXES  # what a gate goes through on its way to what it multiplies
LIKE = words("expand_as view_as type_as to")  # only the first tensor goes in
# What may stand between a layer and its bend, or the next one: what is turned round is a distance
# or a decay.
BETWEEN = (LINEAR - words("neg __neg__ __rsub__")) | frozenset(NORMS) | POOLS
BENT_TWICE = ELEMENTWISE | {"softmax", "clamp"}


def is_gate(run: DryRun, node: Node, name: str) -> bool:
    """The non-linearity `name` of `node` is no bend of hidden units.

    A sigmoid is a gate where other data are multiplied by it; a tanh belongs to a gated cell where
    sigmoids multiply all of it. A softmax, an exponential or a power bends units where it follows
    a layer and nothing but layers with weights take its results: what weighs values by a product
    (attention, squeeze-and-excitation), makes outputs too, or goes into a logarithm does not.
    A softmax over learned slots (softmax(q @ K) @ V, both parameters) looks like a hidden one.
    """
    if name in UNSUITED:
        return not (_follows_layers(node) and _feeds_layers_alone(run, node))
    if name in LETS_THROUGH:
        return bool(_multiplied(run, node)[0])
    if name == "tanh":
        products, others = _multiplied(run, node)
        return bool(products) and not others and all(map(_has_gate, products))
    return name not in ELEMENTWISE


def multiplies(node: Node) -> bool:
    """A product of two things that both depend on the data."""
    products = node.operation in PRODUCTS or node.operation in MATMULS
    return products and sum(p.from_data for p in node.parents) > 1


def _multiplied(run: DryRun, node: Node) -> tuple[list[Node], list[Node]]:
    """The products with other data that the results go into, reshaped or scaled; what else takes
    them."""
    products, others, waiting, met = [], [], [node], {id(node)}
    while waiting:
        current = waiting.pop()
        for taken in run.taken_by.get(id(current), []):
            if id(taken) in met:
                continue
            met.add(id(taken))
            if multiplies(taken):
                products.append(taken)
            elif _source(taken) is current:
                waiting.append(taken)
            else:
                others.append(taken)
    return products, others


def _has_gate(product: Node) -> bool:
    """One of its factors is a sigmoid, or one minus it."""
    return any(_unscaled(p).operation.rstrip("_") in LETS_THROUGH for p in product.parents)


def _unscaled(node: Node) -> Node:
    """What was reshaped or scaled to become `node`, from the start."""
    while (source := _source(node)) is not None:
        node = source
    return node


def _source(node: Node) -> Node | None:
    """What `node` reshapes or scales; None where it does more."""
    data = [p for p in node.parents if p.from_data]
    alone = len(data) == 1 or (bool(data) and node.operation in LIKE)
    return data[0] if alone and node.operation in PASSES else None


def _passes_units(node: Node) -> bool:
    """It goes on as the same units, pooled, normalised, added up, or bent once more."""
    bends = node.operation.rstrip("_") in BENT_TWICE
    return (bends or node.operation in BETWEEN) and not multiplies(node)


def _follows_layers(node: Node) -> bool:
    """Computed from what layers with weights give; a skip connection from the inputs may join."""
    waiting, met, found = [p for p in node.parents if p.from_data], {id(node)}, False
    while waiting:
        current = waiting.pop()
        if id(current) in met:
            continue
        met.add(id(current))
        if has_weights(current):
            found = True
        elif _passes_units(current):
            waiting += [p for p in current.parents if p.from_data]
        elif current.operation != "input":
            return False
    return found


def _feeds_layers_alone(run: DryRun, node: Node) -> bool:
    """Nothing but layers with weights takes its results, and what leads nowhere. A scale (of noise,
    of positions) is no such way."""
    waiting, met, found = [node], {id(node)}, False
    lead_on = run.feeds | run.to_output
    while waiting:
        current = waiting.pop()
        if any(current is output for output in run.outputs):
            return False
        for taken in run.taken_by.get(id(current), []):
            if id(taken) in met or not (id(taken) in lead_on or has_weights(taken)):
                continue
            met.add(id(taken))
            if has_weights(taken) and not multiplies(taken):
                found = True
            elif _passes_units(taken) and taken.operation not in PRODUCTS:
                waiting.append(taken)
            else:
                return False
    return found
