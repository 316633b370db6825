"""Does the gradient reach every parameter, and what cuts it off? One traced forward and backward;
all facts of the network come together here."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.check.network import behaviour
from trainwright.check.network.layers import (
    flatness,
    layer_facts,
    linear_pairs,
    output_statistics,
    repeated,
)
from trainwright.check.network.trace import (
    NORMS,
    ZERO_GRADIENT,
    Node,
    Trace,
    ancestors,
)
from trainwright.check.sample import Criterion, Sample, first_tensor, replace_first
from trainwright.check.subject import Subject
from trainwright.core.facts import HeadKind, ModelFacts
from trainwright.core.phrases import phrase

MOST_ROWS = 256
VALUES_A_PASS = 65_536  # inputs of one pass, so that it stays short on a processor [assumed]


@dataclass(slots=True, kw_only=True)
class Pass:
    """One forward and backward without dropout, the model in training mode."""

    trace: Trace
    end: int  # number of operations of the model itself
    raw: Any
    outputs: Tensor
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    output_gradient: dict[int, float] = field(default_factory=dict)
    loss: Tensor | None = None
    loss_node: Node | None = None
    error: str | None = None


def rows_of_a_pass(sample: Sample, row_seconds: float = 0.0, seconds: float = 0.1) -> int:
    """So many that batch statistics mean something, so few that a forward takes `seconds`."""
    first = first_tensor(sample.inputs)
    each = first[0].numel() if first is not None and first.ndim > 1 else 1
    affordable = int(seconds / max(row_seconds, 1e-9))
    return max(8, min(MOST_ROWS, VALUES_A_PASS // max(1, each), affordable))


@torch.no_grad()
def seconds_a_row(subject: Subject, sample: Sample) -> float:
    """Of a forward in eval mode, measured on two rows once it has run warm."""
    module, few = subject.restore().eval(), sample.rows(2)
    sample.rows(1).run(module)
    began = time.perf_counter()
    few.run(module)
    return (time.perf_counter() - began) / few.num_rows


def run_once(subject: Subject, sample: Sample, criterion: Criterion | None) -> Pass:
    """Trace one forward and, if a criterion is given, its loss and the gradient."""
    module = subject.restore().train()
    output_gradient: dict[int, float] = {}

    def hook(node: Node, output: Tensor) -> None:
        if node.layer and output.is_floating_point():
            output.register_hook(lambda g, at=id(node): _keep(output_gradient, at, g))

    trace = Trace(module, before=flatness, after=output_statistics, gradient=hook)
    for tensor in _all_tensors(sample.inputs):
        trace.feed(tensor)
    with torch.enable_grad(), trace:
        raw = sample.run(module)
    outputs = first_tensor(raw)
    if outputs is None:
        raise ValueError(phrase("the model returns no tensor"))
    done = Pass(trace=trace, end=len(trace.nodes), raw=raw, outputs=outputs,
                output_gradient=output_gradient)  # fmt: skip
    if criterion is not None:
        _backward(done, module, sample, criterion)
    subject.restore()
    return done


def _keep(held: dict[int, float], at: int, gradient: Tensor) -> None:
    held[at] = float(gradient.detach().double().square().mean().sqrt())


def _backward(done: Pass, module: nn.Module, sample: Sample, criterion: Criterion) -> None:
    try:
        with torch.enable_grad(), done.trace:
            try:
                loss = criterion(done.raw, sample.targets)
            except Exception:
                if done.raw is done.outputs:
                    raise
                loss = criterion(done.outputs, sample.targets)
    except Exception as error:  # whatever a foreign criterion raises
        done.error = f"{type(error).__name__}: {error}"
        return
    if not isinstance(loss, Tensor):
        loss = torch.as_tensor(float(loss) if isinstance(loss, (int, float)) else 0.0)
    done.loss, done.loss_node = loss, done.trace.node_of(loss)
    if loss.ndim:
        with torch.enable_grad():
            loss = loss.mean()
    named = {n: p for n, p in module.named_parameters() if p.requires_grad}
    done.gradients = dict.fromkeys(named)
    if loss.requires_grad and named:
        try:
            found = torch.autograd.grad(loss, list(named.values()), allow_unused=True,
                                        retain_graph=True)  # fmt: skip
        except Exception as error:  # a foreign backward
            done.error = f"{type(error).__name__}: {error}"
            return
        done.gradients = dict(zip(named, found, strict=True))


def _all_tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _all_tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _all_tensors(item)


def model_facts(
    model: nn.Module, subject: Subject, sample: Sample, done: Pass, *,
    head: HeadKind | None = None, criterion: Criterion | None = None,
) -> tuple[ModelFacts, dict[str, str]]:  # fmt: skip
    """Facts of the network, and what could not be measured. `model` is the user's own module (only
    looked at), `subject` the copy that is run."""
    unseen: dict[str, str] = {}
    if done.error:
        unseen["model.gradients"] = done.error
    reached = done.gradients if done.error is None else {}
    missing = tuple(n for n, g in reached.items() if g is None)
    zero = tuple(n for n, g in reached.items() if g is not None and not bool(g.any()))

    def tried(name: str, probe: Any, *arguments: Any) -> Any:
        try:
            return probe(*arguments)
        except Exception as error:  # a foreign forward may raise anything
            unseen[f"model.{name}"] = f"{type(error).__name__}: {error}"
            return None
        finally:
            subject.restore()

    named = dict(model.named_parameters())
    difference = tried("mode_difference", behaviour.mode_difference, subject, sample)
    if difference is None:
        reason = phrase("fresh batch norm, or outputs not finite")
        unseen.setdefault("model.mode_difference", reason)
    facts = ModelFacts(
        num_parameters=sum(p.numel() for p in named.values()),
        layers=layer_facts(subject.module, done.trace, done.end, gradients=reached,
                           output_gradient=done.output_gradient),
        affine=tried("affine", behaviour.affine, subject, sample, head),
        linear_pairs=linear_pairs(done.trace, done.end),
        repeated_nonlinearities=repeated(done.trace.nodes, done.end),
        normalisation=tuple(dict.fromkeys(NORMS[n.operation] for n in done.trace.nodes[: done.end]
                                          if n.operation in NORMS)),
        dropout=tuple(done.trace.dropouts), mode_difference=difference,
        mixes_examples=tried("mixes_examples", behaviour.mixes_examples, subject, sample),
        sees_future=tried("sees_future", behaviour.sees_future, subject, sample),
        is_training=model.training, gradient_missing=missing, gradient_zero=zero,
        frozen=tuple(n for n, p in named.items() if not p.requires_grad),
        cuts=_cuts(done, missing, zero),
        bad_gradients=tried("bad_gradients", _bad_gradients, subject, sample, done, criterion)
        or (),
        unregistered=unregistered(model), input_norm=_input_norm(done),
    )  # fmt: skip
    return facts, unseen


def _cuts(
    done: Pass, missing: tuple[str, ...], zero: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Operations between a parameter without gradient and the loss that let none through."""
    if done.error or not (missing or zero):
        return ()
    ends = [n for n in done.trace.nodes if n.operation in ("numpy", "item", "tolist")
            and n.grows_gradient and n.is_cut]  # fmt: skip
    path = list(ancestors(done.loss_node)) if done.loss_node is not None else []
    if not any(n.grows_gradient for n in path):
        path += ends[-1:]  # the loss was made of bare numbers
    lost, still = set(missing), set(zero)
    found = []
    for node in sorted(path, key=lambda n: n.number):
        upstream = {p for n in ancestors(node) for p in n.parameters}
        stops = node.is_cut and upstream & lost
        flattens = node.operation in ZERO_GRADIENT and upstream & still
        if node.grows_gradient and (stops or flattens):
            name = f"no_grad ({node.operation})" if node.without_grad else node.operation
            found.append((name, node.line or ""))
    return tuple(dict.fromkeys(found))


def _input_norm(done: Pass) -> bool:
    """A norm layer sees the inputs before any weights do."""
    for node in done.trace.nodes[: done.end]:
        if node.operation in NORMS and any(p.from_data for p in node.parents):
            return True
        if node.layer and node.from_data:
            return False
    return False


def unregistered(model: nn.Module) -> tuple[str, ...]:
    """Modules and parameters in lists, dicts or attributes that parameters() does not reach."""
    known = {id(p) for p in model.parameters()} | {id(b) for b in model.buffers()}
    found: list[str] = []
    for name, module in model.named_modules():
        for key, value in list(vars(module).items()):
            if not key.startswith("_") and key != "training":
                held = list(_held(value, f"{name}.{key}" if name else key, 0))
                found += [p for p, tensors in held if any(id(t) not in known for t in tensors)]
    return tuple(found)


def _held(value: Any, path: str, depth: int) -> Iterator[tuple[str, list[Tensor]]]:
    """(where, trainable tensors) of what an attribute holds."""
    if isinstance(value, nn.Module):
        yield path, list(value.parameters())
    elif isinstance(value, Tensor):
        yield path, [value] if value.requires_grad and value.is_leaf else []
    elif depth < 3:
        pairs = list(value.items()) if isinstance(value, dict) else []
        pairs = list(enumerate(value)) if isinstance(value, (list, tuple)) else pairs
        for key, item in pairs:
            yield from _held(item, f"{path}[{key!r}]", depth + 1)


def _bad_gradients(
    subject: Subject, sample: Sample, done: Pass, criterion: Criterion | None
) -> tuple[tuple[str, float], ...]:  # fmt: skip
    """Relative error of the gradient along random directions against finite differences, in double
    precision, where the graph holds a user's own autograd function. A surrogate for a function
    that is flat (finite difference zero) is meant that way."""
    if done.loss is None or not done.loss.requires_grad or criterion is None:
        return ()
    own = own_functions(done.loss)
    if not own or not subject.is_copy:  # the user's own module keeps its precision
        return ()
    module = subject.restore().eval().double()
    inputs = tuple(i.double() if isinstance(i, Tensor) and i.is_floating_point() else i
                   for i in sample.inputs)  # fmt: skip
    targets = sample.targets
    if isinstance(targets, Tensor) and targets.is_floating_point():
        targets = targets.double()
    doubled = Sample(inputs=inputs, targets=targets, names=sample.names)
    try:
        error = _finite_difference(module, doubled, criterion)
    finally:
        module.float()
    return tuple((name, error) for name in own) if error is not None and error > 1e-2 else ()


def _finite_difference(module: nn.Module, sample: Sample, criterion: Criterion) -> float | None:
    parameters = [p for p in module.parameters() if p.requires_grad]

    def loss() -> Tensor:
        raw = sample.run(module)
        first = first_tensor(raw)
        assert first is not None
        return criterion(replace_first(raw, first, first), sample.targets).mean()

    with torch.enable_grad():
        slopes = torch.autograd.grad(loss(), parameters, allow_unused=True)
    errors, random = [], torch.Generator().manual_seed(0)
    step = 1e-6
    for _ in range(5):
        along = [torch.randn(p.shape, generator=random, dtype=p.dtype).to(p) for p in parameters]
        expected = sum(float((s * a).sum()) for s, a in zip(slopes, along, strict=True)
                       if s is not None)  # fmt: skip
        ends = []
        with torch.no_grad():
            for sign in (1, -2, 1):
                for p, a in zip(parameters, along, strict=True):
                    p.add_(a, alpha=sign * step)
                ends.append(float(loss()))
        measured = (ends[0] - ends[1]) / (2 * step)
        if abs(measured) > 1e-6 * max(1.0, abs(ends[0])):
            errors.append(abs(measured - expected) / max(abs(measured), abs(expected)))
    return float(np.median(errors)) if errors else None


def own_functions(loss: Tensor) -> list[str]:
    """Names of user-defined autograd functions in the graph behind `loss`."""
    waiting: list[Any] = [loss.grad_fn]
    met: set[Any] = set()
    found: list[str] = []
    while waiting:
        function = waiting.pop()
        if function is None or function in met:
            continue
        met.add(function)
        if isinstance(function, torch.autograd.function.BackwardCFunction):
            own = getattr(type(function), "_forward_cls", type(function))
            if not own.__module__.startswith("torch."):
                found.append(own.__name__)
        with suppress(AttributeError):
            waiting += [f for f, _ in function.next_functions]
    return list(dict.fromkeys(found))
