"""Where does a step go wrong? One step gone through again on copies of the weights: the first
operation that is not finite, forward or backward, the largest one, and the example behind it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainwright.core.caller import users_line
from trainwright.watch.flight import RandomState
from trainwright.watch.probes.probe import first_tensor

MAX_EXAMPLES = 512  # losses are taken one by one for so many
SKIPPED = {"__get__", "__set__", "size", "dim", "numel", "backward", "detach", "is_floating_point",
           "requires_grad_", "register_hook", "stride", "__len__", "shape"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of the step. Ranges are of finite values; `line` is file:line of the code
    that called it, outside torch. Backward: in is the gradient that came, out what it became."""

    name: str
    direction: Literal["forward", "backward"]
    layer: str | None = None
    line: str | None = None
    input_low: float = math.nan
    input_high: float = math.nan
    output_low: float = math.nan
    output_high: float = math.nan
    num_bad: int = 0  # NaN and infinities in its output


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What one step was made of. `culprit`: the first operation that turned finite values into
    ones that are not; None when all was finite. `example`: the row of the batch with a loss that
    is not finite, or else the largest, which makes `example_share` of the whole."""

    loss: float
    gradient_norm: float
    culprit: Operation | None
    largest: Operation | None
    largest_gradient: Operation | None
    example: int | None = None
    example_loss: float | None = None
    example_share: float | None = None
    num_operations: int = 0
    error: str | None = None


def replay(
    module: nn.Module,
    loss: Callable[..., Tensor],
    inputs: Sequence[Any],
    target: Any,
    *,
    named: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | None = None,
    random: RandomState | None = None,
) -> Replayed:
    """Forward and backward of one step with every operation looked at.

    `weights` (of a snapshot) take the place of the module's own. The module, its buffers and
    gradients, and torch's random streams are left as they were; the step's are taken from
    `random` when it is given. An exception of the user's code is reported in `error`.
    """
    tensors = _copies(module, weights)
    names = {id(t): n for n, t in tensors.items()}
    devices = sorted({t.device.index or 0 for t in tensors.values() if t.is_cuda})
    trace = _Trace(names)
    value, outputs, error = None, None, None
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        if random is not None:
            torch.set_rng_state(random.cpu)
            if random.cuda is not None and devices:
                torch.cuda.set_rng_state(random.cuda)
        try:
            with trace:
                out = torch.func.functional_call(module, tensors, tuple(inputs), dict(named or {}))
                outputs = first_tensor(out)
                value = loss(outputs, target)
            if value.requires_grad:
                trace.backward(value)
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"[:300]
    gradients = [t.grad for t in tensors.values() if t.grad is not None]
    norms = [torch.linalg.vector_norm(g.float()) for g in gradients if not g.is_sparse]
    square = sum(float(n) ** 2 for n in norms)
    found = Replayed(
        loss=float(value.detach().float().mean()) if value is not None else math.nan,
        gradient_norm=math.sqrt(square) if square == square else math.nan,
        culprit=trace.culprit,
        largest=trace.largest["forward"],
        largest_gradient=trace.largest["backward"],
        num_operations=trace.num_operations,
        error=error,
    )
    if outputs is None or not isinstance(target, Tensor):
        return found
    with torch.random.fork_rng(devices=devices):
        return _with_example(found, loss, outputs.detach(), target)


def _copies(module: nn.Module, weights: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    given = weights or {}
    tensors = {}
    for name, parameter in module.named_parameters():
        source = given.get(name, parameter).detach().to(parameter.device, copy=True)
        tensors[name] = source.requires_grad_(parameter.requires_grad)
    for name, buffer in module.named_buffers():
        tensors[name] = given.get(name, buffer).detach().to(buffer.device, copy=True)
    return tensors


def _with_example(
    found: Replayed, loss: Callable[..., Tensor], outputs: Tensor, target: Tensor
) -> Replayed:
    """Adds which example of the batch the loss comes from."""
    N = len(outputs) if outputs.dim() else 0
    if N < 2 or N > MAX_EXAMPLES or target.shape[:1] != (N,):
        return found
    try:
        with torch.no_grad():
            each = torch.stack([
                loss(outputs[i : i + 1], target[i : i + 1]).float().mean() for i in range(N)
            ])  # fmt: skip
    except Exception:
        return found  # a loss that cannot take one example alone says nothing about examples
    bad = (~torch.isfinite(each)).nonzero().reshape(-1)
    at = int(bad[0]) if len(bad) else int(each.abs().argmax())
    total = float(each.abs().sum())
    share = float(each[at].abs()) / total if total and math.isfinite(total) else None
    return replace(found, example=at, example_loss=float(each[at]), example_share=share)


class _Trace(TorchFunctionMode):
    """Looks at each function's tensors, and hangs a hook on each node of the graph it made."""

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()
        self._names = names
        self._nodes: set[Any] = set()
        self._handles: list[Any] = []
        self.culprit: Operation | None = None
        self.largest: dict[str, Operation | None] = {"forward": None, "backward": None}
        self.num_operations = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        kwargs = kwargs or {}
        if name in SKIPPED:
            return func(*args, **kwargs)
        given = [t for t in _tensors([*args, *kwargs.values()]) if t.is_floating_point()]
        before = _range([t for t in given if id(t) not in self._names] or given)
        out = func(*args, **kwargs)
        made = [t for t in _tensors([out]) if t.is_floating_point()]
        if made:
            layer = next((self._names[id(t)] for t in given if id(t) in self._names), None)
            layer = layer.rpartition(".")[0] or layer if layer is not None else None
            operation = Operation(name=name, direction="forward", layer=layer, line=users_line(),
                                  input_low=before[0], input_high=before[1])  # fmt: skip
            self._see(operation, before[2], made)
            for tensor in made:
                self._hook_nodes(tensor, operation)
        return out

    def backward(self, value: Tensor) -> None:
        """The backward pass, with a hook on each node; they are taken away afterwards."""
        try:
            (value if value.dim() == 0 else value.mean()).backward()
        finally:
            for handle in self._handles:
                handle.remove()
            self._handles.clear()

    def _see(self, operation: Operation, bad_before: int, made: Sequence[Tensor]) -> None:
        self.num_operations += 1
        low, high, bad = _range(made)
        operation = replace(operation, output_low=low, output_high=high, num_bad=bad)
        if bad and not bad_before and self.culprit is None:
            self.culprit = operation
        last = self.largest[operation.direction]
        if last is None or _size(operation) > _size(last):
            self.largest[operation.direction] = operation

    def _hook_nodes(self, tensor: Tensor, operation: Operation) -> None:
        """Hooks the nodes that this operation has added: those not met before."""
        queue = [tensor.grad_fn]
        while queue:
            node = queue.pop()
            if node is None or node in self._nodes or "AccumulateGrad" in node.name():
                continue
            self._nodes.add(node)
            self._handles.append(node.register_hook(self._after_node(node.name(), operation)))
            queue += [n for n, _ in node.next_functions]

    def _after_node(self, name: str, operation: Operation) -> Callable[..., None]:
        def after(became: Sequence[Tensor | None], came: Sequence[Tensor | None]) -> None:
            came, became = [g for g in came if g is not None], [g for g in became if g is not None]
            if not became:
                return
            low, high, bad = _range([g for g in came if g.is_floating_point()])
            own = name if operation.name in name.lower() else f"{operation.name} ({name})"
            seen = replace(
                operation, name=own, direction="backward", input_low=low, input_high=high
            )
            self._see(seen, bad, became)

        return after


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += _tensors(value)
    return found


def _range(tensors: Sequence[Tensor]) -> tuple[float, float, int]:
    """Lowest and highest finite value, and how many are not finite."""
    low, high, bad = math.inf, -math.inf, 0
    for tensor in tensors:
        values = tensor.detach()
        values = values.coalesce().values() if values.is_sparse else values
        finite = values[torch.isfinite(values)]
        bad += values.numel() - finite.numel()
        if finite.numel():
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (low, high, bad) if low <= high else (math.nan, math.nan, bad)


def _size(operation: Operation) -> float:
    sizes = [abs(operation.output_low), abs(operation.output_high)]
    return max((s for s in sizes if not math.isnan(s)), default=-1.0)
