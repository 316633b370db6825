"""What happens inside a sampled step? A mode of torch that sees each function as it is called, and
tells the probe about layers, non-linearities, attention, losses and backward passes."""

import threading
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from trainwright.model.nonlinearity import FLAT, nonlinearity
from trainwright.watch.probes.criterion import LossCall
from trainwright.watch.probes.layers import Layers
from trainwright.watch.probes.probe import Probe

LOSSES = {
    "cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "poisson_nll_loss",
    "soft_margin_loss", "multi_margin_loss", "multilabel_soft_margin_loss",
    "multilabel_margin_loss", "hinge_embedding_loss", "gaussian_nll_loss",
}  # fmt: skip
# weight's place among the arguments of functions that apply one
WEIGHTED = {
    "linear": 1, "conv1d": 1, "conv2d": 1, "conv3d": 1, "conv_transpose1d": 1, "bilinear": 2,
    "conv_transpose2d": 1, "conv_transpose3d": 1, "embedding": 1, "embedding_bag": 1,
    "layer_norm": 2, "group_norm": 2, "rms_norm": 2, "batch_norm": 3, "instance_norm": 3,
}  # fmt: skip
NORMS = {"layer_norm", "group_norm", "rms_norm", "batch_norm", "instance_norm"}
RECURRENT = {
    "lstm", "gru", "rnn_tanh", "rnn_relu",
    "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell",
}  # fmt: skip
PRODUCTS = {"matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "baddbmm", "einsum", "mv"}
# what a layer's output may pass through on its way to its non-linearity
PASSING = {
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout", "view",
    "reshape", "flatten", "unflatten", "transpose", "permute", "contiguous", "squeeze", "to",
    "unsqueeze", "float", "half", "bfloat16", "type", "max_pool1d", "max_pool2d", "max_pool3d",
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "boolean_dispatch", "fn", "add", "add_", "__add__", "__radd__", "__iadd__", "sub", "__sub__",
    "mul", "__mul__", "__rmul__", "mul_", "div", "__truediv__", "masked_fill", "masked_fill_",
    "__getitem__", "chunk", "split", "unbind", "clone", "pad", "cat", "stack", "swapaxes", "mean",
}  # fmt: skip
Seen = tuple[str | None, bool]  # the layer that made a tensor; are they attention scores


class Window(TorchFunctionMode):
    """Open from the first forward of a sampled step to the optimiser's step.

    It is pushed only on an empty stack of modes (a default device at the bottom is allowed), so
    that no mode of the user can end while this one lies above it; one that begins later ends
    earlier, or is put back when this one is taken from below it. `active` off: functions pass
    straight through. An error of ours never reaches the user: it goes to `complain`.
    """

    def __init__(self, layers: Layers, complain: Callable[[str, Exception], None]) -> None:
        super().__init__()
        self._layers, self._complain = layers, complain
        self._made: dict[int, tuple[ref[Tensor], Seen]] = {}
        self._thread: int | None = None
        self.active = False
        self.probe: Probe | None = None
        self.seconds = 0.0  # of our own work

    def open(self, probe: Probe) -> bool:
        """Begin to see; False when another mode is in the way."""
        below = _get_current_function_mode_stack()
        if self._thread is not None or not all(isinstance(m, DeviceContext) for m in below):
            return False
        self.probe, self.active, self._thread = probe, True, threading.get_ident()
        self.seconds = 0.0
        self._made.clear()
        self.__enter__()
        return True

    @property
    def is_open(self) -> bool:
        return self._thread is not None

    def close(self) -> bool:
        """Leave the stack, wherever on it this mode is; False when that thread is another."""
        self.active, self.probe = False, None
        self._made.clear()
        if self._thread is None:
            return True
        if self._thread != threading.get_ident():
            return False
        self._thread = None
        above = []
        while (stack := _get_current_function_mode_stack()) and self in stack:
            mode = stack[-1]
            mode_out = torch.overrides._pop_mode()
            assert mode_out is mode, f"the top of the stack changed: {mode_out}"
            if mode is self:
                break
            above.append(mode)
        for mode in reversed(above):
            torch.overrides._push_mode(mode)
        return True

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not self.active:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        kind = KIND.get(name)
        if kind is None or not (torch.is_grad_enabled() or kind in ALWAYS):
            return func(*args, **kwargs)
        if kind in BEFORE:
            self._tell(BEFORE[kind], name, args, kwargs)
        out = func(*args, **kwargs)
        if kind in AFTER and self.active:
            self._tell(AFTER[kind], name, args, kwargs, out)
        return out

    def _tell(self, tell: Callable[..., None], *what: Any) -> None:
        began = perf_counter()
        try:
            tell(self, *what)
        except Exception as error:
            self._complain(str(what[0]), error)
        self.seconds += perf_counter() - began

    # what came from where -------------------------------------------------------------------

    def _made_by(self, tensor: Any) -> Seen:
        found = self._made.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else (None, False)

    def _note(self, out: Any, seen: Seen) -> None:
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor):
                self._made[id(tensor)] = (ref(tensor), seen)

    def _pass_on(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        del name, kwargs
        first = args[0] if args else None
        sources = first if isinstance(first, (tuple, list)) else args[:2]
        known = [s for s in map(self._made_by, sources) if s[0] is not None]
        if known:
            self._note(out, known[-1] if len(known) == 1 else _latest(known, self._layers))

    # what the functions are -------------------------------------------------------------------

    def _weighted(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        place = WEIGHTED[name]
        weight = kwargs.get("weight", args[place] if len(args) > place else None)
        bias = kwargs.get("bias", args[place + 1] if len(args) > place + 1 else None)
        source = self._made_by(args[0] if args else kwargs.get("input"))[0]
        layer = self._layers.name_of(weight if isinstance(weight, Tensor) else None)
        if layer is None:
            if name in NORMS:
                self._note(out, (source, False))
            return
        if isinstance(bias, Tensor):
            self._layers.join(weight, bias)
        self._output(
            layer,
            out,
            axis=1 if "conv" in name or name in NORMS - {"layer_norm", "rms_norm"} else -1,
        )
        if name in NORMS and source is not None and self.probe is not None:
            self.probe.norm_of(layer, source)

    def _output(self, layer: str, out: Any, *, axis: int = -1) -> bool:
        assert self.probe is not None
        first = out[0] if isinstance(out, (tuple, list)) else out
        self._note(out, (layer, False))
        return self.probe.layer_output(layer, first, axis=axis)

    def _before_batch_norm(self, name: str, args: Any, kwargs: Any) -> None:
        del name
        running = kwargs.get("running_mean", args[1] if len(args) > 1 else None)
        weight = kwargs.get("weight", args[3] if len(args) > 3 else None)
        layer = self._layers.name_of(weight) or self._made_by(args[0])[0]
        if running is not None and layer is not None and self.probe is not None:
            self.probe.norm_drift(layer, args[0], running)

    def _recurrent(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        weights = next((a for a in args if isinstance(a, list)), None)
        weights = weights or [a for a in args[2:] if isinstance(a, Tensor)]
        layer = self._layers.name_of(weights[0]) if weights else None
        if layer is None or self.probe is None:
            return
        looked_at = self._output(layer, out)
        first = out[0] if isinstance(out, (tuple, list)) else out
        if "rnn" in name:
            self.probe.recurrent_state(layer, first, name)
        elif looked_at:
            self.probe.gates(layer, name, args, first)

    def _product(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        tensors = [a for a in args if isinstance(a, Tensor)]
        layers = [
            self._layers.name_of(t) if not t.is_leaf or self._layers.is_parameter(t) else None
            for t in tensors
        ]
        weights = [
            t
            for t, made in zip(tensors, map(self._made_by, tensors), strict=True)
            if made[0] is None
        ]
        named = [
            n
            for t, n in zip(tensors, layers, strict=True)
            if n is not None and any(t is w for w in weights)
        ]
        if named and len(tensors) > 1:
            self._output(named[-1], out)
            return
        made = [s for s in map(self._made_by, tensors) if s[0] is not None]
        if made:
            self._note(out, (made[0][0], len(made) > 1))

    def _before_activation(self, name: str, args: Any, kwargs: Any) -> None:
        given = args[0] if args else kwargs.get("input")
        layer, is_score = self._made_by(given)
        if layer is None or self.probe is None or not isinstance(given, Tensor):
            return
        applied = nonlinearity(name, args, kwargs)
        if applied is not None and not is_score:
            self.probe.nonlinearity(layer, given, applied)

    def _activation(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        given = args[0] if args else kwargs.get("input")
        layer, is_score = self._made_by(given)
        if layer is None or self.probe is None:
            return
        if is_score and name == "softmax" and isinstance(out, Tensor):
            self.probe.attention_weights(layer, out)
        if out is given:
            self._note(out, (layer, False))

    def _before_attention(self, name: str, args: Any, kwargs: Any) -> None:
        query, key = args[0], args[1]
        layer = self._made_by(query)[0]
        if layer is not None and self.probe is not None:
            mask = kwargs.get("attn_mask", args[3] if len(args) > 3 else None)
            causal = kwargs.get("is_causal", args[5] if len(args) > 5 else False)
            self.probe.attention(layer, query, key, mask, causal=causal, scale=kwargs.get("scale"))

    def _attention(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        del name, kwargs
        self._note(out, self._made_by(args[0]))

    def _multihead(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        weight = args[5] if len(args) > 5 and args[5] is not None else kwargs.get("q_proj_weight")
        layer = self._layers.name_of(weight)
        if layer is None or self.probe is None:
            return
        self._output(layer, out)
        if args[5] is not None and args[0].dim() == 3:
            self.probe.multihead(layer, args, kwargs)

    def _loss(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        outputs = args[0] if args else kwargs.get("input")
        target = args[1] if len(args) > 1 else kwargs.get("target")
        if self.probe is not None and isinstance(outputs, Tensor) and outputs.requires_grad:
            self.probe.loss_function(name, outputs, target, out)
            settings = {k: v for k, v in kwargs.items() if k not in ("input", "target")}
            self.probe.loss_call = LossCall(
                name=name, settings=settings, place=outputs.data_ptr(),
                num_outputs=outputs.numel(), dims=outputs.dim(),
            )  # fmt: skip

    def _before_backward(self, name: str, args: Any, kwargs: Any) -> None:
        first = args[0] if args else kwargs.get("tensors")
        if isinstance(first, (tuple, list)):
            first = first[0] if first else None
        if self.probe is not None and isinstance(first, Tensor):
            self.probe.backward(first)

    def _backward(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        if self.probe is not None:
            self.probe.backward_ended()

    def _gradients(self, name: str, args: Any, kwargs: Any, out: Any) -> None:
        inputs = args[1] if len(args) > 1 else kwargs.get("inputs", ())
        if self.probe is not None:
            self.probe.gradients_given([inputs] if isinstance(inputs, Tensor) else inputs, out)

    def _before_unscale(self, name: str, args: Any, kwargs: Any) -> None:
        if self.probe is not None and len(args) > 2:
            self.probe.unscaled_by = args[2].detach()


def _latest(known: list[Seen], layers: Layers) -> Seen:
    """Of several sources the one that ran last: in x + f(x) it is f."""
    return max(known, key=lambda seen: layers.index(seen[0]) if seen[0] else -1)


def _kinds() -> dict[str, str]:
    kinds = dict.fromkeys(PASSING, "pass")
    kinds |= dict.fromkeys([*FLAT, *(f"{n}_" for n in FLAT)], "activation")
    kinds |= dict.fromkeys(WEIGHTED, "weighted") | {"batch_norm": "batch_norm"}
    kinds |= dict.fromkeys(RECURRENT, "recurrent") | dict.fromkeys(PRODUCTS, "product")
    kinds |= dict.fromkeys(LOSSES, "loss") | {"backward": "backward", "grad": "gradients"}
    kinds |= {
        "scaled_dot_product_attention": "attention",
        "multi_head_attention_forward": "multihead",
        "_amp_foreach_non_finite_check_and_unscale_": "unscale",
    }
    return kinds


KIND = _kinds()
ALWAYS = ("backward", "gradients", "unscale")  # the others count only where a gradient is wanted
BEFORE: dict[str, Callable[..., None]] = {
    "batch_norm": Window._before_batch_norm, "activation": Window._before_activation,
    "attention": Window._before_attention, "backward": Window._before_backward,
    "unscale": Window._before_unscale,
}  # fmt: skip
AFTER: dict[str, Callable[..., None]] = {
    "pass": Window._pass_on, "weighted": Window._weighted, "batch_norm": Window._weighted,
    "recurrent": Window._recurrent, "product": Window._product, "activation": Window._activation,
    "attention": Window._attention, "multihead": Window._multihead, "loss": Window._loss,
    "backward": Window._backward, "gradients": Window._gradients,
}  # fmt: skip
