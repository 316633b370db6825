"""Which modules are a non-linearity written out by hand? `0.5 x (1 + tanh(…))`, `x * sigmoid(x)`:
to be exchanged as one, never in parts."""

from collections.abc import Iterator

from torch import nn

from trainwright.check.network.trace import ACTIVATIONS, LINEAR, NORMS, PRODUCTS, Node, words
from trainwright.edit.surgery.anatomy import ELEMENTWISE
from trainwright.edit.surgery.dry_run import DryRun, Visit, has_weights

POWERS = words("pow __pow__ __rpow__ square sqrt")
ACROSS = words("softmax log_softmax softmin gumbel_softmax glu mean sum")  # look along an axis


def composites(run: DryRun) -> Iterator[tuple[Visit, str, list[Node]]]:
    """Calls of modules without parts and parameters that compute a value from each value in
    several steps, one of which bends; the name of what they apply; the layers' operations before.
    """
    for visit in run.visits:
        module = run.modules[visit.name]
        if not visit.name or _has_parts(module) or visit.in_shape != visit.out_shape:
            continue
        within = [n for n in run.nodes[visit.start : visit.end] if n.from_data]
        allowed = (ACTIVATIONS | LINEAR | PRODUCTS | POWERS) - ACROSS
        bends = any(n.operation in ACTIVATIONS | POWERS for n in within)
        made = visit.made is not None and visit.made in within
        given = {id(p): p for n in within for p in n.parents if p.from_data and p not in within}
        if len(within) < 2 or not bends or not made or len(given) != 1:
            continue
        if all(n.operation in allowed for n in within):
            yield visit, _name(module), _layers_before(next(iter(given.values())))


def _has_parts(module: nn.Module) -> bool:
    held = [*module.children(), *module.parameters(recurse=False), *module.buffers(recurse=False)]
    return bool(held)


def _name(module: nn.Module) -> str:
    """The elementwise function that the class is named after, or `custom`."""
    text = type(module).__name__.lower().replace("swish", "silu")
    return max((name for name in ELEMENTWISE if name in text), key=len, default="custom")


def _layers_before(node: Node) -> list[Node]:
    """The operations with weights from which linear maps and norms lead to `node`."""
    waiting, found, met = [node], [], {id(node)}
    while waiting:
        current = waiting.pop()
        if has_weights(current):
            found.append(current)
        elif current.operation in LINEAR or current.operation in NORMS:
            above = [p for p in current.parents if p.from_data and id(p) not in met]
            met |= {id(p) for p in above}
            waiting += above
    return found
