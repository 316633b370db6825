"""Which layer does a tensor belong to? Names by the identity of parameters."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim import Optimizer

MAX_GRAPH_WALK = 24  # nodes between a derived weight and its parameter [assumed: weight norm has 5]


# Nodes that belong to activations, not to a weight that is computed from its parameter.
COMPUTES = ("Addmm", "MmBackward", "Bmm", "Conv", "Embedding", "NativeLayerNorm", "NativeBatchNorm")


class Layers:
    """The layers of some models: names in the order of execution, and whose a parameter is.

    A layer is a module that holds parameters of its own, named as in `named_modules`. A module
    that is not torch's and holds several matrices is several layers, each called as its
    parameter; so are parameters of the root. With several models, names begin with their number.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.names: list[str] = []
        self.parameters: list[Tensor] = []
        self.parameter_names: list[str] = []
        self._layer_of: dict[int, str] = {}
        self._index: dict[str, int] = {}
        for number, model in enumerate(models):
            self._add(model, f"{number}." if len(models) > 1 else "")

    def _add(self, model: nn.Module, prefix: str) -> None:
        for path, module in model.named_modules():
            own = dict(module.named_parameters(recurse=False))
            matrices = [n for n, p in own.items() if p.dim() > 1]
            foreign = not type(module).__module__.startswith("torch.nn")
            split = not path or (foreign and len(matrices) > 1)
            for name, parameter in own.items():
                if id(parameter) in self._layer_of:
                    continue
                full = _plain(f"{path}.{name}" if path else name)
                layer = _plain(path) if not split else full
                if split and name.endswith("bias") and not path and len(matrices) == 1:
                    layer = _plain(matrices[0])
                self._layer_of[id(parameter)] = prefix + layer
                self.parameters.append(parameter)
                self.parameter_names.append(prefix + full)

    def name_of(self, weight: Tensor | None) -> str | None:
        """The layer that holds `weight`, or from whose parameter it was computed."""
        if weight is None:
            return None
        found = self._layer_of.get(id(weight))
        if found is not None or weight.grad_fn is None:
            return found
        queue, seen = [weight.grad_fn], 0
        while queue and seen < MAX_GRAPH_WALK:
            node = queue.pop(0)
            seen += 1
            if any(mark in node.name() for mark in COMPUTES):
                return None
            variable = getattr(node, "variable", None)
            if variable is not None and id(variable) in self._layer_of:
                return self._layer_of[id(variable)]
            queue += [n for n, _ in node.next_functions if n is not None]
        return None

    def is_parameter(self, tensor: Tensor) -> bool:
        """Whether it is one of the models' own parameters."""
        return id(tensor) in self._layer_of

    def holds_some(self, optimizer: Optimizer) -> bool:
        """Whether the optimiser has at least one of them."""
        return any(id(p) in self._layer_of for g in optimizer.param_groups for p in g["params"])

    def join(self, weight: Tensor, bias: Tensor | None) -> None:
        """`bias`, a layer of its own so far, belongs to the layer of `weight`."""
        owner = self._layer_of.get(id(weight))
        if bias is None or owner is None or id(bias) not in self._layer_of:
            return
        alone = self._layer_of[id(bias)]
        if alone != owner and alone not in self._index and bias.dim() == 1:
            self._layer_of[id(bias)] = owner

    def index(self, name: str) -> int:
        """Its place in `names`, where it is put at the first call."""
        found = self._index.get(name)
        if found is None:
            found = self._index[name] = len(self.names)
            self.names.append(name)
        return found

    def index_of_parameter(self, parameter: Tensor) -> int:
        """The place of the layer that holds it."""
        return self.index(self._layer_of[id(parameter)])

    def add_rest(self) -> None:
        """Places the layers that did not run, in the order in which they are defined."""
        for parameter in self.parameters:
            self.index_of_parameter(parameter)


def _plain(name: str) -> str:
    """`block.parametrizations.weight.original0` -> `block`; compiled wrappers are dropped."""
    name = name.removeprefix("_orig_mod.").replace("._orig_mod", "")
    name = name.split(".parametrizations")[0].removeprefix("parametrizations.")
    return name.removesuffix(".weight") if name != "weight" else name
