"""How is one sampled step seen from its first forward to its update? Hooks that exist for that step
only, timestamps, and at its end all numbers at once."""

import math
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.core.history import LAYER_READINGS
from trainwright.watch.attach import Hook
from trainwright.watch.noise import Noise, from_successive
from trainwright.watch.probes.collect import Activity
from trainwright.watch.probes.layers import Layers
from trainwright.watch.probes.microbatches import MicroBatches
from trainwright.watch.probes.outputs import output_values, put_outputs
from trainwright.watch.probes.probe import Probe
from trainwright.watch.probes.weights import Fetched, Norms, Slot
from trainwright.watch.probes.window import Window


class SampledStep:
    """One armed step. `forward_begins` … `finish` are called by hooks or by our own loop."""

    def __init__(
        self,
        step: int,
        layers: Layers,
        activity: Activity,
        window: Window,
        slots: Sequence[Slot],
        *,
        began: float,
        last_sampled: int,
    ) -> None:
        self.step, self.began = step, began
        self.probe = Probe(layers, activity)
        self._window, self._slots = window, slots
        self.last_sampled = last_sampled
        self._handles: list[Any] = []
        self.direct = 0.0
        self.seconds_forward: float | None = None  # when the first forward began
        self.seconds_step: float | None = None  # when the first optimiser's step began
        self.seconds_end: float | None = None
        self.batch_size = 0
        self.rate = math.nan
        self.loss_seen = False
        self._by_hand = False
        self.training = math.nan  # the root's mode in forward: 1 training, 0 not

    def install(
        self, models: Sequence[nn.Module], guard: Callable[..., Hook], *, first: Optimizer | None
    ) -> None:
        """Hooks on the roots' outputs, the optimisers, and the largest parameter."""
        for model in models:
            self._handles.append(
                model.register_forward_hook(guard("root output", self._root_output))
            )
        for slot in self._slots:
            if slot.optimizer is None:
                continue
            before = guard("optimiser pre hook", self._before_step(slot))
            self._handles.append(slot.optimizer.register_step_pre_hook(before))
            if slot.optimizer is not first:
                after = guard("optimiser hook", self._after_step(slot))
                self._handles.append(slot.optimizer.register_step_post_hook(after))
        self.probe.largest = max(
            (p for s in self._slots for p in s.parameters if p.is_leaf and p.requires_grad),
            key=lambda p: p.numel(),
            default=None,
        )
        if len(models) == len(self._slots) == 1:
            self.probe.micro = MicroBatches(self._slots[0].parameters)
        if first is None:
            self.probe.hold = self._slots[0].hold_gradients

    def keep(self, handle: Any) -> None:
        """One more hook that ends with this step."""
        self._handles.append(handle)

    def remove(self) -> None:
        """Takes the hooks of this step away, and the window."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def forward_begins(self, inputs: Sequence[Any]) -> None:
        """A root is called with these inputs."""
        if self.seconds_forward is None:
            self.seconds_forward = perf_counter()
        first = next((t for t in inputs if isinstance(t, Tensor)), None)
        num_examples = first.shape[0] if first is not None and first.dim() else 0
        self.batch_size += num_examples
        self.probe.micro.forward(num_examples)

    def _root_output(self, module: nn.Module, args: Any, out: Any) -> None:
        if torch.is_grad_enabled():
            self.training = float(module.training)
            self.probe.root_output(out)

    def _before_step(self, slot: Slot) -> Callable[..., None]:
        def before(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            closure = len(args) > 1 or kwargs.get("closure") is not None
            if slot is self._slots[0]:
                self.seconds_step = perf_counter()
                if not closure:
                    self._close_window()
            slot.keep_weights()
            if not closure:
                slot.keep_gradients(self.probe.collector, self.probe.layers)
            else:
                slot.late = True

        return before

    def _after_step(self, slot: Slot) -> Callable[..., None]:
        def after(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            self.updated(slot)

        return after

    def updated(self, slot: Slot) -> None:
        """The optimiser of `slot` has stepped."""
        if slot.late:
            slot.keep_gradients(self.probe.collector, self.probe.layers)
            slot.late = False
        slot.after(
            self.probe.collector,
            self.step,
            last_sampled=self.last_sampled,
            first=slot is self._slots[0],
        )

    def updated_by_hand(self) -> None:
        """No optimiser has moved the weights; when they were moved is not seen."""
        self._by_hand = True
        self.seconds_step, self.seconds_end = self.probe.seconds_backward or None, None
        self._close_window()
        self._slots[0].keep_gradients(self.probe.collector, self.probe.layers)
        self.updated(self._slots[0])

    def own_update(self) -> None:
        """Our own loop has stepped all optimisers; weights before were kept when this was armed."""
        self.seconds_step = self.probe.seconds_backward or None
        self._close_window()
        for slot in self._slots:
            slot.keep_gradients(self.probe.collector, self.probe.layers)
            self.updated(slot)

    def _close_window(self) -> None:
        self.direct += self._window.seconds
        self._window.seconds = 0.0
        self._window.close()

    # the end ----------------------------------------------------------------------------------

    def finish(
        self, given: Tensor | None, noise: Noise, norms: Norms
    ) -> tuple[dict[str, list[float]], dict[str, float]]:
        """One transfer, and what it comes to: [layer] lists and numbers of the step."""
        probe, collector = self.probe, self.probe.collector
        probe.close_layers()
        put_outputs(probe, collector)
        if given is not None:
            collector.put("loss", given)
        for tensor in probe.losses:
            collector.put("function_loss", tensor)
        for tensor in probe.backward_losses:
            collector.put("backward_loss", tensor)
        if probe.backward_norm is not None:
            collector.put("backward_norm", probe.backward_norm)
            if not self._by_hand:  # it may have been cleared
                probe.put_norm_now()
        if probe.unscaled_by is not None:
            collector.put("unscaled_by", probe.unscaled_by)
        probe.micro.put(collector)
        probe.layers.add_rest()
        fetched = collector.fetch()
        self.loss_seen = any(k in fetched for k in ("loss", "function_loss", "backward_loss"))
        L = len(probe.layers.names)
        table = {name: [math.nan] * L for name in LAYER_READINGS}
        probe.fill(fetched, table)
        norms.fill(fetched, table)
        self._count_bad(fetched, table["nonfinite"])
        return table, output_values(fetched) | self._global_values(fetched, noise, norms.totals)

    def _count_bad(self, fetched: Fetched, row: list[float]) -> None:
        """Parameters and gradients with a norm that is not finite count one each."""
        for kind in ("gradient", "weight"):
            for at, value in fetched.get(kind, ()):
                if math.isnan(row[at]):
                    row[at] = 0.0
                if not math.isfinite(value):
                    row[at] += 1

    def _global_values(
        self, fetched: Fetched, noise: Noise, totals: Mapping[str, float]
    ) -> dict[str, float]:
        square, before = totals["gradient"], totals["gradient_before"]
        product = totals["update_given"] * square
        clip = _first(fetched, "backward_norm")
        clip = _first(fetched, "optimizer_norm") / clip if clip > 0 else math.nan
        if _first(fetched, "unscaled_by") > 0:
            clip /= _first(fetched, "unscaled_by")
        began, ended = self.seconds_step, self.seconds_end
        forward = self.seconds_forward
        squares, dot = (square + before) / 2, totals["gradient_dot"]
        pair = from_successive(dot=dot, squares=squares, batch_size=self.batch_size)
        micro = self.probe.micro.parts(fetched)
        return {
            "loss": self._loss(fetched),
            "gradient_norm_all": math.sqrt(square) if square >= 0 else square,
            "clip_ratio": clip,
            "learning_rate": self.rate,
            "seconds_waiting": forward - self.began if forward and not self._by_hand else math.nan,
            "seconds_computing": began - forward if began and forward else math.nan,
            "seconds_updating": ended - began if began and ended else math.nan,
            "num_backwards": float(self.probe.num_backwards or math.nan),
            "update_along_gradient": -totals["along"] / math.sqrt(product)
            if product > 0
            else math.nan,
            "stale_gradient": float(_first(fetched, "stale") > 0)
            if "stale" in fetched
            else math.nan,
            "train_mode": self.training,
            "penalty_share": _penalty_share(fetched),
        } | noise.readings(self.step, micro, pair)

    def _loss(self, fetched: Fetched) -> float:
        """The criterion's, told, or what backward was called on; a scaler's 2^k divided out."""
        if fetched.get("loss"):
            return _first(fetched, "loss")
        function = [v for _, v in fetched.get("function_loss", ())]
        backward = [v for _, v in fetched.get("backward_loss", ())]
        mean = sum(function) / len(function) if function else math.nan
        if not backward:
            return mean
        total = sum(backward)
        inverse = _first(fetched, "unscaled_by")
        if inverse > 0:
            return total * inverse
        ratio = total / mean if mean else math.nan
        scaled = ratio >= 16 and abs(math.log2(ratio) - round(math.log2(ratio))) < 1e-3
        return mean if scaled else total


def _penalty_share(fetched: Fetched) -> float:
    """1 - criterion / what went backward, of one backward pass that no scaler multiplied."""
    criterion = fetched.get("function_loss") or fetched.get("loss", ())
    backward = fetched.get("backward_loss", ())
    scaled = _first(fetched, "unscaled_by") > 0
    if len(backward) != 1 or len(criterion) != 1 or scaled or not backward[0][1] > 0:
        return math.nan
    share = 1 - criterion[0][1] / backward[0][1]
    return share if share > -0.01 else math.nan  # less than the criterion: a mean over parts


def _first(fetched: Fetched, kind: str) -> float:
    pairs = fetched.get(kind)
    return pairs[0][1] if pairs else math.nan
