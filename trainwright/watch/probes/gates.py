"""How far open or shut are the gates inside torch's LSTM and GRU? What goes into their sigmoids and
tanh, computed again for a few examples and times from a call's inputs, weights and states."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainwright.model.nonlinearity import FLAT

MAX_EXAMPLES = 16
MAX_TIMES = 8  # [measured: 0.2 ms for 64 units, gone through again 0.6 ms, of steps of 4 and 14]
GATED = {"lstm": 4, "gru": 3}  # gates of a unit; the third is the candidate, which tanh bounds


def gate_inputs(name: str, args: Sequence[Any], out: Any) -> Tensor:
    """[some, gate times unit]: inputs of the non-linearities in a call of torch.lstm, torch.gru or
    one of their cells, over the bound of each: beyond 1 a gate is flat.

    `args` as torch got them, `out` the output sequence that came back. One layer, each direction:
    the state before each time is in its outputs, so that times are taken evenly. Several layers:
    the first, forward in time, from the start of the sequence; dropout hides the others' inputs.
    Of packed sequences forward in time only.
    """
    with torch.no_grad():
        if name.endswith("_cell"):
            gates = Gates(name.removesuffix("_cell"), args[2:])
            state = args[1][0] if isinstance(args[1], (tuple, list)) else args[1]
            return gates.inputs(_few(args[0], 0), _few(state, 0))[0]
        sequence = _Sequence(name, args, out)
        return sequence.unrolled() if sequence.num_layers > 1 else sequence.taken()


class Gates:
    """One direction of one layer: its weights (ih, hh, their biases, a projection), and what it
    makes of them.

    Source: the equations in torch's documentation of nn.LSTM and nn.GRU.
    """

    def __init__(self, kind: str, weights: Sequence[Tensor | None]) -> None:
        given = [w.detach().float() for w in weights if w is not None]
        self.kind = kind
        self.ih, self.hh = given[:2]
        self.biases = given[2:4] if len(given) > 3 else [None, None]
        self.projection = given[-1] if len(given) % 2 else None

    def inputs(self, x: Tensor, state: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """[example, gate times unit] over their bounds, and as they are, by gate."""
        ours = F.linear(x.detach().float(), self.ih, self.biases[0]).chunk(GATED[self.kind], -1)
        theirs = F.linear(state.detach().float(), self.hh, self.biases[1])
        theirs = theirs.chunk(GATED[self.kind], -1)
        gates = [a + b for a, b in zip(ours, theirs, strict=True)]
        if self.kind == "gru":
            gates[2] = ours[2] + gates[0].sigmoid() * theirs[2]
        over = [g / _bound("tanh" if n == 2 else "sigmoid") for n, g in enumerate(gates)]
        return torch.cat(over, -1), tuple(gates)

    def step(self, gates: Sequence[Tensor], state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """The next state and cell."""
        if self.kind == "gru":
            keep = gates[1].sigmoid()
            return (1 - keep) * gates[2].tanh() + keep * state, cell
        cell = gates[1].sigmoid() * cell + gates[0].sigmoid() * gates[2].tanh()
        state = gates[3].sigmoid() * cell.tanh()
        return (state if self.projection is None else F.linear(state, self.projection)), cell


class _Sequence:
    """A call on a whole sequence, taken apart: values [time, example, feature], or the rows of a
    packed sequence with how many there are at each time."""

    def __init__(self, name: str, args: Sequence[Any], out: Tensor) -> None:
        packed = isinstance(args[1], Tensor) and args[1].dim() == 1
        self._sizes: list[int] | None = args[1].tolist() if packed else None
        first, weights, _, self.num_layers, _, _, self._both = args[1 + packed : 8 + packed]
        states = first if isinstance(first, (tuple, list)) else (first, first)
        self._start, self._cell = states[0].detach().float(), states[1].detach().float()
        self._given, self._out = args[0].detach(), out.detach()
        if not packed and args[8]:  # batch_first
            self._given, self._out = self._given.transpose(0, 1), self._out.transpose(0, 1)
        num = len(weights) // (self.num_layers * (2 if self._both else 1))
        self._weights = [weights[i : i + num] for i in range(0, len(weights), num)]
        self._name = name

    def taken(self) -> Tensor:
        """Of a single layer: times evenly, with the states that came out beside them."""
        directions = 2 if self._both and self._sizes is None else 1
        found = []
        for number in range(directions):
            gates = Gates(self._name, self._weights[number])
            found.append(gates.inputs(*self._pairs(number))[0].flatten(0, -2))
        return torch.cat(found)

    def _pairs(self, direction: int) -> tuple[Tensor, Tensor]:
        """Inputs and the states that met them, [..., feature]."""
        width = self._start.shape[-1]
        out = self._out[..., direction * width : (direction + 1) * width]
        if self._sizes is not None:
            return self._packed_pairs(out)
        T = len(self._given)
        if T == 1:
            return _few(self._given[0], 0), _few(self._start[direction], 0)
        stride = -(-(T - 1) // MAX_TIMES)
        x, state = (self._given[:-1], out[1:]) if direction else (self._given[1:], out[:-1])
        return _few(x[::stride], 1), _few(state[::stride], 1)

    def _packed_pairs(self, out: Tensor) -> tuple[Tensor, Tensor]:
        sizes = self._sizes
        assert sizes is not None, "only packed sequences have sizes"
        if len(sizes) == 1:
            return _few(self._given, 0), _few(self._start[0], 0)
        starts = [0]
        for size in sizes:
            starts.append(starts[-1] + size)
        times = range(1, len(sizes), -(-(len(sizes) - 1) // MAX_TIMES))
        x = [_few(self._given[starts[t] : starts[t] + sizes[t]], 0) for t in times]
        state = [_few(out[starts[t - 1] : starts[t - 1] + sizes[t]], 0) for t in times]
        return torch.cat(x), torch.cat(state)

    def unrolled(self) -> Tensor:
        """Of the first of several layers: the first times, gone through again."""
        gates = Gates(self._name, self._weights[0])
        found, begin = [], 0
        stride = _stride(self._given.shape[1] if self._sizes is None else self._sizes[0])
        state, cell = self._start[0][::stride], self._cell[0][::stride]
        for time in range(min(MAX_TIMES, len(self._sizes or self._given))):
            if self._sizes is None:
                x = self._given[time]
            else:
                x = self._given[begin : begin + self._sizes[time]]
                begin += self._sizes[time]
            x = x[::stride]
            state, cell = state[: len(x)], cell[: len(x)]
            over, by_gate = gates.inputs(x, state)
            state, cell = gates.step(by_gate, state, cell)
            found.append(over)
        return torch.cat(found)


def _bound(name: str) -> float:
    high = FLAT[name][1]
    assert high is not None, "sigmoid and tanh are flat on both sides"
    return high


def _stride(count: int) -> int:
    return max(1, -(-count // MAX_EXAMPLES))


def _few(values: Tensor, axis: int) -> Tensor:
    """At most MAX_EXAMPLES places of `axis`, evenly."""
    stride = _stride(values.shape[axis])
    return values[::stride] if axis == 0 else values[:, ::stride]
