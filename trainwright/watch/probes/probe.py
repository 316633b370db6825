"""What do the numbers of one sampled step come to? Sums on the device as the step goes along, moved
to the host in one transfer at its end."""

import math
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainwright.model.nonlinearity import Nonlinearity
from trainwright.watch.probes.collect import Activity, Collector
from trainwright.watch.probes.criterion import LossCall
from trainwright.watch.probes.gates import gate_inputs
from trainwright.watch.probes.layers import Layers
from trainwright.watch.probes.microbatches import MicroBatches

MAX_VALUES = 2**13  # of one activation are looked at [measured: 2 us an operation, 2**14: 4 us]
MAX_CALLS = 8  # of one layer in one step; a cell in a long loop is sampled at its first ones
AVERAGED = ("zero_share", "saturated_share", "dead_share", "norm_drift", "attention_entropy")
ATTENTION_EXAMPLES = 8
ATTENTION_QUERIES = 64


class Probe:
    """One sampled step's sums. Methods are told by the window, by hooks, and by the watcher."""

    def __init__(self, layers: Layers, activity: Activity) -> None:
        self.layers, self._activity = layers, activity
        self.complain: Callable[[str, Exception], None] | None = None
        self.collector = Collector()
        self._calls: dict[str, list[_Call]] = {}
        self._norm_sources: dict[str, str] = {}
        self.losses: list[Tensor] = []  # of loss functions
        self.backward_losses: list[Tensor] = []
        self.pair: tuple[str, Tensor, Tensor] | None = None  # loss function, outputs, targets
        self.loss_call: LossCall | None = None  # of torch's own functions
        self.root_outputs: list[Tensor] = []
        self.unscaled_by: Tensor | None = None
        self.largest: Tensor | None = None  # the largest parameter: its gradient stands for all
        self.backward_norm: Tensor | None = None
        self.micro = MicroBatches(())
        self.hold: Callable[..., None] | None = None  # of a step by hand: copies its gradients
        self._before: tuple[Tensor | None, int, Tensor | None] | None = None
        self.num_backwards = 0
        self.num_examples = 0
        self.seconds_backward = 0.0

    # told by the window --------------------------------------------------------------------

    def layer_output(self, layer: str, out: Any, *, axis: int) -> bool:
        """A layer has run: its sums now, its gradient when backward reaches it. False when this
        call is not looked at."""
        if not isinstance(out, Tensor):
            data = getattr(out, "data", None)  # a packed sequence
            if not isinstance(data, Tensor):
                return False
            out = data
        calls = self._calls.setdefault(layer, [])
        self.layers.index(layer)
        if len(calls) >= MAX_CALLS or not out.is_floating_point() or not out.numel():
            return False
        call = _Call(sample(out, axis), self.complain)
        calls.append(call)
        if out.requires_grad and not out.is_leaf:
            out.register_hook(call.take_gradient)
        return True

    def norm_of(self, layer: str, source: str) -> None:
        """The norm `layer` acts on the outputs of `source`."""
        self._norm_sources[layer] = source

    def nonlinearity(self, layer: str, given: Tensor, applied: Nonlinearity) -> None:
        """A non-linearity is about to act on what came out of `layer`."""
        owners = [layer]
        while owners[-1] in self._norm_sources and self._norm_sources[owners[-1]] not in owners:
            owners.append(self._norm_sources[owners[-1]])
        if not given.is_floating_point() or (applied.low is None and applied.high is None):
            return
        values = sample(given, 1 if given.dim() > 3 else -1)
        if applied.rectifies and applied.low is not None:
            above = torch.gt(values, applied.low, out=torch.empty_like(values))
            units = above.mean(dim=_others(values, 1 if given.dim() > 3 else -1))
            self._put(owners, "zero_share", 1.0 - units.mean())
            never = self._activity.share_never(layer, units, values.numel() / units.numel())
            self._put(owners, "dead_share", never)
            if applied.high is not None:
                self._put(owners, "saturated_share", _share_beyond(values, None, applied.high))
            return
        self._put(owners, "saturated_share", _share_beyond(values, applied.low, applied.high))

    def recurrent_state(self, layer: str, states: Tensor, name: str) -> None:
        """Outputs of a plain recurrent net, after its own non-linearity."""
        values = sample(states if isinstance(states, Tensor) else states.data, -1)
        if "relu" in name:
            units = torch.gt(values, 0, out=torch.empty_like(values)).mean(dim=_others(values, -1))
            self._put([layer], "zero_share", 1.0 - units.mean())
            self._put(
                [layer],
                "dead_share",
                self._activity.share_never(layer, units, values.numel() / units.numel()),
            )
        else:  # |h| >= tanh(2.6)
            self._put([layer], "saturated_share", _share_beyond(values, -0.989, 0.989))

    def gates(self, layer: str, name: str, args: Sequence[Any], out: Tensor) -> None:
        """An LSTM or GRU, or a cell of one, has run: the share of all its gates, the candidate
        among them, that lies in the flat part of their own non-linearity."""
        inputs = gate_inputs(name, args, out)
        self._put([layer], "saturated_share", _share_beyond(inputs, -1.0, 1.0))

    def norm_drift(self, layer: str, given: Tensor, running_mean: Tensor) -> None:
        """|running mean - batch mean| / batch sd, mean over channels, before they are updated."""
        values = sample(given, 1)
        others = _others(values, 1)
        mean = values.mean(dim=others)
        sd = (values.square().mean(dim=others) - mean.square()).clamp_(min=1e-12).sqrt_()
        self._put([layer], "norm_drift", ((running_mean - mean).abs_() / sd).mean())

    def attention(
        self,
        layer: str,
        query: Tensor,
        key: Tensor,
        mask: Tensor | None,
        *,
        causal: bool,
        scale: float | None,
    ) -> None:
        """Attention as a function of query and key, [..., time, feature]."""
        stride = max(1, query.shape[-2] // ATTENTION_QUERIES)
        query, key = query.detach(), key.detach()
        if query.dim() > 3:
            query, key = query[:ATTENTION_EXAMPLES], key[:ATTENTION_EXAMPLES]
        num_queries = query.shape[-2]
        scores = query[..., ::stride, :].float() @ key.float().transpose(-2, -1)
        scores *= scale if scale is not None else 1 / math.sqrt(query.shape[-1])
        allowed = None
        if causal:
            rows = torch.arange(num_queries, device=key.device)[::stride, None]
            allowed = rows >= torch.arange(key.shape[-2], device=key.device)[None]
        elif mask is not None:
            if mask.dim() > 3 and mask.shape[0] > 1:
                mask = mask[:ATTENTION_EXAMPLES]
            mask = mask[..., ::stride, :] if mask.shape[-2] > 1 else mask
            allowed = mask if mask.dtype is torch.bool else mask > -1e4
            scores = scores if mask.dtype is torch.bool else scores + mask
        if allowed is not None:
            scores = scores.masked_fill(~allowed, -math.inf)
        self._entropy(layer, scores.softmax(dim=-1))

    def attention_weights(self, layer: str, weights: Tensor) -> None:
        """Attention weights made by hand, [..., query, key]; each row sums to one."""
        stride = max(1, weights.shape[-2] // ATTENTION_QUERIES) if weights.dim() > 1 else 1
        weights = weights.detach()
        weights = weights[:ATTENTION_EXAMPLES] if weights.dim() > 2 else weights
        self._entropy(layer, weights[..., ::stride, :].float())

    def _entropy(self, layer: str, weights: Tensor) -> None:
        """Entropy over the entropy of equal weights, of rows with at least two keys in reach."""
        entropy = -torch.xlogy(weights, weights).sum(dim=-1)
        num_keys = (weights > 0).sum(dim=-1)
        rows = num_keys > 1
        share = torch.where(rows, entropy / num_keys.clamp(min=2).log(), 0.0)
        self._put([layer], "attention_entropy", share.sum() / rows.sum())

    def multihead(self, layer: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """torch's multi-head attention: query, key [time, batch, feature] before projection."""
        query, key, _, width, num_heads, weight, bias = args[:7]
        rows = slice(0, ATTENTION_EXAMPLES)
        halves = []
        for number, given in enumerate((query, key)):
            part = slice(number * width, (number + 1) * width)
            b = bias[part].detach() if bias is not None else None
            projected = F.linear(given[:, rows].detach().float(), weight[part].detach(), b)
            T, B, _ = projected.shape
            halves.append(projected.reshape(T, B, num_heads, -1).permute(1, 2, 0, 3))
        mask = kwargs.get("attn_mask")
        if mask is not None:
            mask = ~mask if mask.dtype is torch.bool else mask
            mask = mask if mask.dim() == 2 else None
        self.attention(layer, halves[0], halves[1], mask, causal=False, scale=None)

    def loss_function(self, name: str, outputs: Tensor, target: Any, out: Tensor) -> None:
        """One of torch's loss functions was called."""
        if out.dim() == 0:
            self.losses.append(out.detach())
        fits = self.pair is None or bool(
            self.root_outputs and self.root_outputs[-1].numel() == outputs.numel()
        )
        if isinstance(target, Tensor) and fits:
            self.pair = (name, outputs.detach(), target.detach())

    def own_pair(self, outputs: Any, target: Any) -> None:
        """What a criterion of the user's own was called with."""
        if isinstance(outputs, Tensor) and isinstance(target, Tensor):
            self.pair = ("", outputs.detach(), target.detach())

    def backward(self, loss: Tensor) -> None:
        """A backward pass begins at `loss`."""
        self.num_backwards += 1
        if loss.numel() == 1:
            self.backward_losses.append(loss.detach().reshape(()))
        gradient = self._gradient_of_largest()
        held = None if gradient is None else gradient.abs().max()
        version = -1 if gradient is None else gradient._version
        self._before = (None if self.largest is None else self.largest.grad, version, held)
        self.micro.before_pass(self.collector)

    def backward_ended(self) -> None:
        """It is through: what it added to, and how large the gradient is now. No hook on the
        parameter: torch keeps calling an empty one ever after [measured: 12 us a step]."""
        self.seconds_backward = perf_counter()
        self.micro.after_pass(self.collector)
        if self.hold is not None:
            self.hold()
        gradient = self._gradient_of_largest()
        if gradient is None or self._before is None or self.largest is None:
            return
        last, version, held = self._before
        if self.largest.grad is last and gradient._version == version:
            return  # this pass did not reach it
        if self.backward_norm is None:
            self.collector.put("stale", held if held is not None else gradient.new_zeros(()))
        self.backward_norm = torch.linalg.vector_norm(gradient.float())

    def gradients_given(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """torch.autograd.grad has handed out gradients; those of a step by hand are its own."""
        found = zip(parameters, gradients, strict=True)
        by_id = {id(p): g for p, g in found if g is not None and self.layers.is_parameter(p)}
        if self.hold is not None and by_id:
            self.hold(by_id)
            self.seconds_backward = perf_counter()

    def put_norm_now(self) -> None:
        """The norm of the same gradient as the optimiser got it."""
        gradient = self._gradient_of_largest()
        if gradient is not None:
            norm = torch.linalg.vector_norm(gradient.float())
            self.collector.put("optimizer_norm", norm)

    def _gradient_of_largest(self) -> Tensor | None:
        gradient = None if self.largest is None else self.largest.grad
        return None if gradient is None or gradient.is_sparse else gradient.detach()

    # told by hooks --------------------------------------------------------------------------

    def root_output(self, out: Any) -> None:
        """The model's outputs on one batch."""
        first = first_tensor(out)
        if first is not None and first.is_floating_point():
            self.root_outputs.append(first.detach())

    # the end ----------------------------------------------------------------------------------

    def _put(self, owners: Sequence[str], reading: str, scalar: Tensor) -> None:
        for owner in owners:
            self.collector.put(reading, scalar, self.layers.index(owner))

    def close_layers(self) -> None:
        """Puts what the calls collected, those that backward has reached where there are any."""
        for layer, calls in self._calls.items():
            trained = [c for c in calls if c.gradient is not None] or calls[-1:]
            at = self.layers.index(layer)
            for call in trained:
                self.collector.put("mean", call.mean, at)
                self.collector.put("norm", call.norm, at, call.values.numel() ** -0.5)
                if call.gradient is not None:
                    factor = call.num_gradients**-0.5
                    self.collector.put("output_gradient", call.gradient, at, factor)
            self._calls[layer] = trained

    def fill(
        self, fetched: Mapping[str, list[tuple[int, float]]], table: dict[str, list[float]]
    ) -> None:
        """Puts means over a layer's calls into `table`, [layer] lists by reading."""
        for reading in AVERAGED:
            _average(fetched[reading], table[reading])
        _average(fetched["mean"], table["output_mean"])
        _average(fetched["norm"], table["output_sd"], squared=True)
        _average(fetched["output_gradient"], table["output_gradient"], squared=True)
        means, squares = table["output_mean"], table["output_sd"]
        for layer, calls in self._calls.items():
            at = self.layers.index(layer)
            finite = math.isfinite(means[at]) and math.isfinite(squares[at])
            table["nonfinite"][at] = 0.0
            if finite:
                squares[at] = math.sqrt(max(squares[at] ** 2 - means[at] ** 2, 0.0))
            else:
                count = sum(float((~torch.isfinite(c.values)).sum()) for c in calls)
                table["nonfinite"][at] = max(1.0, count)
                squares[at] = math.nan

    def input_axis(self) -> Callable[[Tensor], Tensor]:
        """How to bring outputs to [row, class_]: torch's losses have classes on axis 1."""
        name = self.pair[0] if self.pair is not None else ""
        if name in ("cross_entropy", "nll_loss"):
            return lambda t: t.movedim(1, -1).flatten(0, -2) if t.dim() > 1 else t[None]
        return lambda t: t.flatten(0, -2) if t.dim() > 1 else t[:, None]


class _Call:
    """One call of one layer: sums of its sampled outputs, and the gradient's, when it comes."""

    __slots__ = ("complain", "gradient", "mean", "norm", "num_gradients", "values")

    def __init__(self, values: Tensor, complain: Callable[[str, Exception], None] | None) -> None:
        self.values, self.complain = values, complain
        self.mean = values.mean()
        self.norm = torch.linalg.vector_norm(values)
        self.gradient: Tensor | None = None
        self.num_gradients = 1

    def take_gradient(self, gradient: Tensor) -> None:
        """Norm of the loss's gradient by these outputs; a tensor hook."""
        try:
            self._take(gradient.detach())
        except Exception as error:
            if self.complain is not None:
                self.complain("output_gradient", error)

    def _take(self, values: Tensor) -> None:
        if values.numel() > 4 * MAX_VALUES:
            values = sample(values, -1)
        self.num_gradients = values.numel()
        self.gradient = torch.linalg.vector_norm(values.float())


def sample(values: Tensor, axis: int) -> Tensor:
    """At most about 2**13 values in float32, by strides over all axes but the units' `axis`.

    Later axes (places, times) are thinned down to four places each before examples are.
    """
    values = values.detach()
    if values.dim() == 0:
        return values.float().reshape(1)
    excess = values.numel() / MAX_VALUES
    if excess > 1:
        unit = axis % values.dim()
        index: list[slice] = [slice(None)] * values.dim()
        for place in [
            *(d for d in range(values.dim() - 1, 0, -1) if d != unit),
            *([0] if unit else []),
        ]:
            least = 4 if place else 1
            stride = min(math.ceil(excess), max(1, values.shape[place] // least))
            index[place] = slice(None, None, stride)
            excess /= stride
            if excess <= 1:
                break
        values = values[tuple(index)]
    return values if values.dtype is torch.float32 else values.float()


def first_tensor(out: Any) -> Tensor | None:
    """The model's main output: a tensor, the first of a tuple, `logits` or the first of a dict."""
    if isinstance(out, Tensor):
        return out
    if isinstance(out, Mapping):
        out = [out[k] for k in ("logits", "output") if k in out] or [
            v for k, v in out.items() if k != "loss"
        ]
    elif hasattr(out, "logits"):
        return first_tensor(out.logits)
    if isinstance(out, (tuple, list)):
        return next((t for t in map(first_tensor, out) if t is not None), None)
    return None


def _others(values: Tensor, axis: int) -> list[int]:
    unit = axis % values.dim()
    return [d for d in range(values.dim()) if d != unit]


def _share_beyond(values: Tensor, low: float | None, high: float | None) -> Tensor:
    """Share of values at or outside the bounds."""
    if low is not None and high is not None:
        middle, half = (low + high) / 2, (high - low) / 2
        values, high = (values - middle if middle else values).abs(), half
    elif low is not None:
        values, high = -values, -low
    assert high is not None, "one bound at least"
    return torch.ge(values, high, out=torch.empty_like(values)).mean()


def _average(
    pairs: Sequence[tuple[int, float]], row: list[float], *, squared: bool = False
) -> None:
    """Means by layer, or roots of means of squares, into `row`."""
    counts: dict[int, int] = {}
    for at, given in pairs:
        value = given * given if squared else given
        count = counts[at] = counts.get(at, 0) + 1
        row[at] = value if count == 1 else row[at] + (value - row[at]) / count
    if squared:
        for at in counts:
            row[at] = math.sqrt(row[at]) if row[at] >= 0 else row[at]
