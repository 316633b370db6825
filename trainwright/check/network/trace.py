"""Which operations turn inputs into the loss, in which order, and where is that in the user's code?
One pass under a TorchFunctionMode sees modules and functional calls alike; nothing is hooked."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainwright.core.caller import users_line

WEIGHTED = {
    "linear": "linear", "matmul": "linear", "__matmul__": "linear", "__rmatmul__": "linear",
    "mm": "linear", "addmm": "linear", "bmm": "linear", "einsum": "linear", "bilinear": "other",
    "baddbmm": "linear", "conv1d": "convolution", "conv2d": "convolution", "conv3d": "convolution",
    "conv_transpose1d": "convolution", "conv_transpose2d": "convolution",
    "conv_transpose3d": "convolution", "embedding": "embedding", "embedding_bag": "embedding",
    "lstm": "recurrent", "gru": "recurrent", "rnn_tanh": "recurrent", "rnn_relu": "recurrent",
    "lstm_cell": "recurrent", "gru_cell": "recurrent", "rnn_tanh_cell": "recurrent",
    "rnn_relu_cell": "recurrent", "multi_head_attention_forward": "attention",
}  # fmt: skip


def words(text: str) -> frozenset[str]:
    """Names of operations, as a set."""
    return frozenset(text.split())


NORMS = {"batch_norm": "batch", "layer_norm": "layer", "group_norm": "group",
         "instance_norm": "instance", "rms_norm": "rms"}  # fmt: skip
ACTIVATIONS = words(
    "relu relu_ relu6 leaky_relu leaky_relu_ prelu rrelu elu elu_ selu selu_ celu gelu silu mish "
    "sigmoid sigmoid_ tanh tanh_ softsign softplus logsigmoid hardtanh hardtanh_ hardsigmoid "
    "hardswish softmax log_softmax softmin exp exp_ expm1 threshold threshold_ tanhshrink "
    "softshrink hardshrink glu clamp clamp_ clip clamp_min clamp_max maximum abs sin cos square "
    "erf log log1p sqrt gumbel_softmax"
)
LINEAR = words(
    "view reshape flatten unflatten permute transpose t mT T movedim swapaxes squeeze unsqueeze "
    "contiguous clone dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout "
    "mean sum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d __getitem__ "
    "adaptive_avg_pool3d pad chunk split select narrow index_select expand repeat expand_as "
    "to float double half bfloat16 type type_as stack cat concat hstack vstack unbind roll flip "
    "pixel_shuffle interpolate unfold fold neg __neg__ add add_ __add__ __radd__ __iadd__ sub sub_ "
    "__sub__ __rsub__ __isub__ mul mul_ __mul__ __rmul__ __imul__ div div_ __truediv__ "
    "true_divide __rtruediv__ __itruediv__ requires_grad_ repeat_interleave view_as swapdims"
)
JOINS = words("add add_ __add__ __radd__ __iadd__ sub sub_ __sub__ cat concat stack")
PRODUCTS = words("mul mul_ __mul__ __rmul__ __imul__ div div_ __truediv__ __rtruediv__")
DROPOUTS = words(
    "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout dropout_"
)
RECURRENT = frozenset(("lstm", "gru", "rnn_tanh", "rnn_relu"))
ENDS = words("numpy item tolist __array__ __float__ __int__ __bool__ __index__")
SOURCES = words("from_numpy tensor as_tensor asarray full Tensor full_like")
ZERO_GRADIENT = words(
    "round round_ floor floor_ ceil ceil_ trunc trunc_ sign sign_ sgn heaviside fix __floordiv__ "
    "floor_divide"
)
FLOAT_KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """One operation that ran. `parents` made its tensor arguments; `parameters` are the names of
    parameters among the arguments, or of what those were computed from alone."""

    operation: str
    parents: tuple["Node", ...] = ()
    parameters: tuple[str, ...] = ()
    from_data: bool = False  # depends on the model's inputs
    grows_gradient: bool = False  # depends on a trainable parameter, cut or not
    is_cut: bool = False  # arguments require a gradient and the result does not
    without_grad: bool = False  # ran under no_grad
    line: str | None = None
    layer: str = ""  # name, of operations with weights
    shape: tuple[int, ...] = ()
    seen: dict[str, float] = field(default_factory=dict)  # statistics of outputs or arguments
    number: int = 0


Statistics = Callable[[str, tuple[Any, ...], Mapping[str, Any], Tensor | None], dict[str, float]]


class Trace(TorchFunctionMode):
    """Runs what it sees with dropout switched off (`calm`), and notes it.

    `before(operation, args, kwargs, None)` and `after(..., output)` give numbers to keep by node;
    `gradient(node, output)` may hook the output.
    """

    def __init__(
        self, module: nn.Module, *, calm: bool = True, before: Statistics | None = None,
        after: Statistics | None = None, gradient: Callable[[Node, Tensor], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.names: dict[int, str] = {}
        for name, parameter in module.named_parameters(remove_duplicate=False):
            self.names.setdefault(id(parameter), name)
        self.buffers = {id(b) for b in module.buffers()}
        self.aliases: dict[str, list[str]] = {}
        for name, parameter in module.named_parameters(remove_duplicate=False):
            self.aliases.setdefault(self.names[id(parameter)], []).append(name)
        self.trainable = {id(p) for p in module.parameters() if p.requires_grad}
        self.calm, self.before, self.after, self.gradient = calm, before, after, gradient
        self.nodes: list[Node] = []
        self.dropouts: list[float] = []
        self._made: dict[int, tuple[Tensor, Node]] = {}
        self._ended: list[Node] = []  # left torch (numpy, item) and may come back

    def feed(self, tensor: Tensor) -> None:
        """`tensor` is one of the model's inputs."""
        self._made[id(tensor)] = (tensor, Node(operation="input", from_data=True))

    def node_of(self, tensor: Tensor) -> Node | None:
        """What made it."""
        found = self._made.get(id(tensor))
        return found[1] if found is not None and found[0] is tensor else None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = operation_name(func)
        self._note_dropout(name, args, kwargs)
        if self.calm:
            if name in DROPOUTS:
                return args[0] if args else kwargs["input"]
            args, kwargs = calmed(name, args, kwargs)
        if name in IGNORED:
            return func(*args, **kwargs)
        tensors = list(nested_tensors((args, kwargs)))
        before = {}
        if self.before is not None and name in ACTIVATIONS:
            before = self.before(name, args, kwargs, None)
        requires = any(t.requires_grad for t in tensors)
        result = func(*args, **kwargs)
        outputs = list(nested_tensors(result))
        if not outputs and name not in ENDS:
            return result
        node = self._node(name, tensors, outputs, requires)
        node.seen |= before
        if node.layer and self.after is not None and outputs:
            node.seen |= self.after(name, args, kwargs, outputs[0])
        if self.gradient is not None and outputs and outputs[0].requires_grad:
            self.gradient(node, outputs[0])
        return result

    def _note_dropout(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rate = 0.0
        if name in DROPOUTS:
            rate = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
        elif name in RECURRENT:
            rate = next((a for a in args if isinstance(a, float)), 0.0)
        elif name == "multi_head_attention_forward":
            rate = args[10] if len(args) > 10 else kwargs.get("dropout_p", 0.0)
        elif "dropout_p" in kwargs:
            rate = kwargs["dropout_p"]
        if isinstance(rate, (int, float)) and rate > 0:
            self.dropouts.append(float(rate))

    def _node(
        self, name: str, tensors: list[Tensor], outputs: list[Tensor], requires: bool
    ) -> Node:
        parents, parameters = [], []
        trains = False
        for tensor in tensors:
            made = self.node_of(tensor)
            if id(tensor) in self.names:
                parameters.append(self.names[id(tensor)])
                trains |= id(tensor) in self.trainable
            elif made is not None:
                parents.append(made)
                if not made.from_data:
                    parameters += made.parameters
            elif self._ended and id(tensor) not in self.buffers:
                parents.append(self._ended[-1])  # it came from outside torch
        if self._ended and not parents and name in SOURCES:
            parents.append(self._ended[-1])
        node = Node(
            operation=name, parents=tuple(parents), parameters=tuple(dict.fromkeys(parameters)),
            from_data=any(p.from_data for p in parents),
            grows_gradient=trains or any(p.grows_gradient for p in parents), number=len(self.nodes),
            shape=tuple(outputs[0].shape) if outputs else (),
        )  # fmt: skip
        node.is_cut = requires and not any(o.requires_grad for o in outputs)
        carries = node.from_data or name in ("embedding", "embedding_bag")
        if node.parameters and carries and (name in WEIGHTED or name in NORMS):
            node.layer = self._layer_name(tensors, node)
        if node.layer or node.is_cut or name in ZERO_GRADIENT:
            node.line = users_line()
        node.without_grad = not torch.is_grad_enabled()
        if name in ENDS and node.grows_gradient:
            self._ended.append(node)
        self.nodes.append(node)
        for output in outputs:
            self._made[id(output)] = (output, node)
        return node

    def _layer_name(self, tensors: list[Tensor], node: Node) -> str:
        own = [self.names[id(t)] for t in tensors if id(t) in self.names]
        name = (own or list(node.parameters))[0]
        for t in tensors:  # a matrix rather than a vector names the layer
            if id(t) in self.names and t.ndim >= 2:
                name = self.names[id(t)]
                break
        return layer_name(name)


IGNORED = words(
    "size dim __get__ __set__ stride numel is_floating_point is_contiguous data_ptr get_device "
    "register_hook retain_grad __len__ __repr__ __format__ __hash__ is_complex ndimension"
)


def layer_name(parameter: str) -> str:
    """`fc1.weight` -> `fc1`; also of parametrised, recurrent and attention weights."""
    path = parameter.split(".")
    if "parametrizations" in path:
        path = path[: path.index("parametrizations")] + ["weight"]
    stem = path[-1]
    known = ("weight", "bias", "in_proj_weight", "q_proj_weight", "in_proj_bias", "weight_v")
    if len(path) > 1 and (stem in known or stem.startswith(("weight_", "bias_"))):
        path = path[:-1]
    return ".".join(path)


def operation_name(func: Any) -> str:
    """The operation's bare name; `.data` and the like by their attribute."""
    name = getattr(func, "__name__", "") or str(func)
    if name == "__get__":
        owner = getattr(getattr(func, "__self__", None), "__name__", "")
        return owner if owner in ("data", "T", "mT", "H", "mH", "real") else "__get__"
    return name


def nested_tensors(value: Any) -> Iterator[Tensor]:
    """Those in tuples, lists and mappings, however deep, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from nested_tensors(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from nested_tensors(item)


class WithoutDropout(TorchFunctionMode):
    """Modular, functional, recurrent and attention dropout are the identity within."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = operation_name(func)
        if name in DROPOUTS:
            return args[0] if args else kwargs["input"]
        args, kwargs = calmed(name, args, kwargs)
        return func(*args, **kwargs)


def calmed(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments without the dropout that composite functions carry."""
    if name in RECURRENT:  # the only float among their arguments is the dropout rate
        return tuple(0.0 if isinstance(a, float) else a for a in args), kwargs
    if name == "multi_head_attention_forward":
        return args, kwargs | {"training": False}  # it governs nothing but dropout
    return args, kwargs | {"dropout_p": 0.0} if "dropout_p" in kwargs else kwargs


def ancestors(node: Node) -> Iterator[Node]:
    """The node and everything that it was computed from, each once."""
    waiting, met = [node], {id(node)}
    while waiting:
        current = waiting.pop()
        yield current
        for parent in current.parents:
            if id(parent) not in met:
                met.add(id(parent))
                waiting.append(parent)


def consumers(nodes: list[Node]) -> dict[int, list[Node]]:
    """id of a node -> those that take its result, in order."""
    found: dict[int, list[Node]] = {}
    for node in nodes:
        for parent in node.parents:
            found.setdefault(id(parent), []).append(node)
    return found
