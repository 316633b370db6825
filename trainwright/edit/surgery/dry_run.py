"""What happens when a network runs once? Forward hooks tell which modules were called, a trace
which functions, and both together who takes what from whom."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.check.network.trace import (
    JOINS,
    WEIGHTED,
    Node,
    Statistics,
    Trace,
    ancestors,
    consumers,
    operation_name,
)
from trainwright.check.sample import first_tensor
from trainwright.core.caller import users_line
from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.model.nonlinearity import nonlinearity


@dataclass(slots=True, kw_only=True)
class Visit:
    """One call of a module: its operations are nodes[start:end]."""

    name: str
    start: int
    end: int = 0
    in_shape: tuple[int, ...] = ()
    out_shape: tuple[int, ...] = ()
    made: Node | None = None


@dataclass(slots=True, kw_only=True)
class DryRun:
    """What one batch showed; numbers are those of nodes."""

    trace: Trace
    nodes: list[Node]
    visits: list[Visit]
    applied: dict[int, tuple[str, str]]  # (name of the activation, the user's file:line)
    shapes: dict[int, tuple[int, ...]]  # of what goes into an operation with weights
    outputs: list[Node]
    modules: dict[str, nn.Module]
    taken_by: dict[int, list[Node]] = field(default_factory=dict)
    feeds: set[int] = field(default_factory=set)  # a layer with weights comes later
    to_output: set[int] = field(default_factory=set)  # what the outputs are computed from
    inside: dict[int, Visit] = field(default_factory=dict)  # the innermost module that ran it
    residual: set[int] = field(default_factory=set)


class Bends(Trace):
    """Also notes which non-linearity is about to run, and where in the user's code."""

    def __init__(self, module: nn.Module, *, after: Statistics) -> None:
        super().__init__(module, calm=False, after=after)
        self.applied: dict[int, tuple[str, str]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = nonlinearity(operation_name(func), args, kwargs or {})
        if found is not None:
            self.applied[len(self.nodes)] = (found.name, users_line() or "")
        return super().__torch_function__(func, types, args, kwargs)


def call(model: nn.Module, batch: Any) -> Any:
    """The model's outputs for a batch as `observe` takes them."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, (tuple, list)) else model(batch)


def tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    value = list(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(value, (tuple, list)):
        logits = getattr(value, "logits", None)
        return [logits] if isinstance(logits, Tensor) else []
    return [t for item in value for t in tensors_in(item)]


def dry_run(module: nn.Module, batch: Any) -> DryRun:
    shapes: dict[int, tuple[int, ...]] = {}

    def following(name: str, args: Any, kwargs: Any, _: Tensor | None) -> dict[str, float]:
        given = [t for t in tensors_in([args, kwargs]) if id(t) not in trace.names]
        data = [t for t in given if (n := trace.node_of(t)) is not None and n.from_data]
        shapes[len(trace.nodes) - 1] = tuple((data or given)[0].shape) if given else ()
        return {}

    trace = Bends(module, after=following)
    for tensor in tensors_in(batch):
        trace.feed(tensor)
    visits, handles = _visited(module, trace)
    try:
        with torch.no_grad(), trace:
            raw = call(module, batch)
    except Exception as error:
        raise TrainwrightError(
            phrase("the model failed on a batch: {error}", error=shown(str(error))),
            allowed=phrase("batches on which the model runs"),
            do=phrase("give a batch as the model is called: a tensor, a tuple, or a dict"),
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    first = first_tensor(raw)
    tensors = ([] if first is None else [first]) + tensors_in(raw)
    made = [n for t in tensors if (n := trace.node_of(t)) is not None]
    run = DryRun(trace=trace, nodes=trace.nodes, visits=visits, applied=trace.applied,
                 shapes=shapes, outputs=made, modules=dict(module.named_modules()))  # fmt: skip
    _connect(run)
    return run


def _visited(module: nn.Module, trace: Trace) -> tuple[list[Visit], list[Any]]:
    """Notes each call of each module, as long as the handles are not removed."""
    visits: list[Visit] = []
    open_visits: list[Visit] = []
    handles: list[Any] = []

    def enter(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: Any, kwargs: Any) -> None:
            first = first_tensor(inputs) if inputs else first_tensor(kwargs)
            shape = tuple(first.shape) if first is not None else ()
            open_visits.append(Visit(name=name, start=len(trace.nodes), in_shape=shape))

        return hook

    def leave(_: nn.Module, inputs: Any, output: Any) -> None:
        visit, first = open_visits.pop(), first_tensor(output)
        visit.end = len(trace.nodes)
        if first is not None:
            visit.out_shape, visit.made = tuple(first.shape), trace.node_of(first)
        visits.append(visit)

    for name, part in module.named_modules():
        handles.append(part.register_forward_pre_hook(enter(name), prepend=True, with_kwargs=True))
        handles.append(part.register_forward_hook(leave))
    return visits, handles


def _connect(run: DryRun) -> None:
    """Who takes what from whom, fills the derived fields."""
    run.taken_by = consumers(run.nodes)
    run.to_output = {id(n) for output in run.outputs for n in ancestors(output)}
    for node in reversed(run.nodes):
        taken = run.taken_by.get(id(node), [])
        if any(has_weights(n) or id(n) in run.feeds for n in taken):
            run.feeds.add(id(node))
    for visit in sorted(run.visits, key=lambda v: v.start - v.end):
        for node in run.nodes[visit.start : visit.end]:
            run.inside[id(node)] = visit
    for node in run.nodes:
        data = [p for p in node.parents if p.from_data]
        if node.operation in JOINS and "cat" not in node.operation and len(data) > 1:
            one, other = ({id(n) for n in ancestors(p)} for p in data[:2])
            run.residual |= one ^ other if one & other else set()


def has_weights(node: Node) -> bool:
    return bool(node.layer) and node.operation in WEIGHTED
