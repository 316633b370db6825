"""How does a forward keep a gradient that it cuts off? Its values get the graph that they had: a
tensor stands for its detached copy, a straight-through estimator for what has no slope."""

from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from trainwright.check.network.trace import ZERO_GRADIENT, nested_tensors, operation_name, words
from trainwright.edit.surgery.anatomy import Call, call_site
from trainwright.edit.surgery.hooks import on_first

# What leaves the graph with its values: within torch, or to numpy and plain numbers.
COPIES = words("detach detach_ data")
ENDS = words("numpy tolist item __array__")
COPIERS = words("tensor new_tensor")  # where they are given a tensor
DETOURS = COPIES | ENDS | COPIERS
COMPARISONS = words("gt ge lt le __gt__ __ge__ __lt__ __le__ greater greater_equal less less_equal")
LESS = words("lt le __lt__ __le__ less less_equal")
CHOICES = words("argmax max")
NO_BACKWARD = words("__floordiv__ floor_divide")  # torch raises: nobody trains past them
FLAT = (ZERO_GRADIENT - NO_BACKWARD) | COMPARISONS | CHOICES
# A mask or a choice stays one under these; it meets numbers under those.
SHAPES = words("view reshape flatten unsqueeze squeeze permute transpose expand expand_as clone "
               "contiguous movedim unflatten view_as repeat")  # fmt: skip
CASTS = words("float double half bfloat16 to type type_as int long bool")
MEETS = words("mul __mul__ __rmul__ add __add__ __radd__ sub __sub__ __rsub__ div __truediv__ "
              "true_divide linear matmul")  # fmt: skip


def straight_through(values: Tensor, smooth: Tensor) -> Tensor:
    """`values`, to the bit, with the gradient of `smooth` (of the same shape); none where `smooth`
    is not finite.

    Source: Bengio et al. 2013, arXiv:1308.3432, section 2.3. As values - (s - s): adding 0.0 would
    turn a -0.0 round.
    """
    s = torch.where(smooth.isfinite(), smooth, torch.zeros_like(smooth)).to(values.dtype)
    return values.detach() - (s.detach() - s)


class Rejoining(TorchFunctionMode):
    """One forward in which the calls `cuts` cut nothing; without gradients it does nothing."""

    def __init__(self, cuts: tuple[Call, ...]) -> None:
        super().__init__()
        self.chosen = {(call.name, call.site) for call in cuts}
        self.names = {call.name for call in cuts}
        self.left: list[Tensor] = []  # whose values went out of torch, the latest last
        self.smooth: dict[int, tuple[Tensor, Tensor]] = {}  # of masks and rows of 0 and 1
        self.choices: dict[int, tuple[Tensor, Tensor, int]] = {}  # index -> scores and their axis
        self.made: dict[int, ref[Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = operation_name(func)
        if not torch.is_grad_enabled() or name == "__get__":
            return func(*args, **kwargs)
        first = args[0] if args else kwargs.get("input")
        if isinstance(first, Tensor) and (kept := self._kept(name, func, args, first)) is not None:
            return kept
        if name in ENDS and isinstance(first, Tensor) and first.requires_grad:
            self.left.append(first)
            return func(first.detach(), *args[1:], **kwargs)
        if self.left:
            args, kwargs = self._back(args), self._back(kwargs)
        if self.smooth and name in MEETS:
            args = tuple(self._as_number(a) for a in args)
        result = self._run(name, func, args, kwargs)
        for tensor in nested_tensors(result):
            self.made[id(tensor)] = ref(tensor)
        return result

    def back(self, outputs: Any) -> Any:
        """The forward's outputs, the first of them rejoined with what left torch."""
        return on_first(outputs, self._rejoined) if self.left else outputs

    # --- what leaves the graph -------------------------------------------------------------------

    def _is_chosen(self, name: str) -> bool:
        if name == "max" and name in self.names:  # a trace notes no line: it cuts its indices alone
            return True
        return name in self.names and (name, call_site()) in self.chosen

    def _kept(self, name: str, func: Any, args: Any, first: Tensor) -> Tensor | None:
        """`first` itself, for a call that would only take its graph away."""
        owner = getattr(getattr(func, "__self__", None), "__name__", "")
        flag = name == "requires_grad_" or (name == "__set__" and owner == "requires_grad")
        if flag and first.requires_grad and not first.is_leaf:
            return first
        if name in COPIES and self._is_chosen(name):
            return first
        source = args[1] if name == "new_tensor" and len(args) > 1 else first
        copies = name in COPIERS and isinstance(source, Tensor) and source.requires_grad
        return source if copies and self._is_chosen(name) else None

    def _back(self, value: Any) -> Any:
        """Arguments with what came from outside rejoined."""
        if isinstance(value, Tensor):
            return self._rejoined(value)
        if type(value) in (tuple, list):
            return type(value)(self._back(v) for v in value)
        return {k: self._back(v) for k, v in value.items()} if type(value) is dict else value

    def _rejoined(self, tensor: Tensor) -> Tensor:
        """What left, for a tensor that no operation here made and that has its values still."""
        known = self.made.get(id(tensor))
        if tensor.grad_fn is not None or (known is not None and known() is tensor):
            return tensor
        return self._same(tensor)

    def _same(self, tensor: Tensor) -> Tensor:
        for source in reversed(self.left):
            if source.numel() == tensor.numel() and tensor.is_floating_point():
                given = source.detach().to(tensor).reshape(tensor.shape)
                if torch.equal(given, tensor):
                    return source.to(tensor).reshape(tensor.shape)
        return tensor

    # --- what has no slope -----------------------------------------------------------------------

    def _run(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        if name in FLAT and self._is_chosen(name):
            return self._sloped(name, func, args, kwargs)
        result = func(*args, **kwargs)
        if name in ("tensor", "as_tensor", "asarray", "new_tensor") and self.left:
            return self._same(result)
        if self.choices and (found := self._chosen_among(args, kwargs)) is not None:
            return self._hot(result, *found)
        if self.smooth and (name in SHAPES or name in CASTS):
            return self._cast(name, func, args, kwargs, result)
        return result

    def _sloped(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        x = args[0] if args else kwargs["input"]
        if name in CHOICES:
            return self._choice(x, func, args, kwargs)
        if name in COMPARISONS:
            mask, other = func(*args, **kwargs), args[1] if len(args) > 1 else kwargs["other"]
            slope = other - x if name in LESS else x - other
            self.smooth[id(mask)] = (mask, slope)
            return mask
        if name.endswith("_") and not name.endswith("__"):
            values = func(x.detach().clone(), *args[1:], **kwargs)
            return x.copy_(straight_through(values, x.clone()))
        return straight_through(func(*args, **kwargs), x)

    def _choice(self, x: Tensor, func: Any, args: Any, kwargs: Any) -> Any:
        """An argmax along one axis: its scores are kept beside it."""
        result = func(*args, **kwargs)
        axis = args[1] if len(args) > 1 else kwargs.get("dim")
        index = result[1] if isinstance(result, tuple) else result
        if isinstance(axis, int) and isinstance(index, Tensor) and x.is_floating_point():
            self.choices[id(index)] = (index, x, axis % x.ndim)
        return result

    def _chosen_among(self, args: Any, kwargs: Any) -> tuple[Tensor, Tensor, int] | None:
        for tensor in nested_tensors((args, kwargs)):
            found = self.choices.get(id(tensor))
            if found is not None and found[0] is tensor:
                return found
        return None

    def _hot(self, result: Any, index: Tensor, scores: Tensor, axis: int) -> Any:
        """Rows of 0 and 1 made of a choice get the slope of a softmax; a reshaped choice is one."""
        if not isinstance(result, Tensor):
            return result
        if result.numel() == scores.numel():
            hot = F.one_hot(index.reshape(-1), scores.shape[axis])
            last = scores.movedim(axis, -1)
            hot = hot.reshape(last.shape)
            shares = scores.softmax(axis).movedim(axis, -1)
            if result.shape != last.shape or not torch.equal(result.to(hot.dtype), hot):
                hot, shares = hot.movedim(-1, axis), shares.movedim(-1, axis)
            if result.shape == hot.shape and torch.equal(result.to(hot.dtype), hot):
                return self._with_slope(result, shares)
        elif result.numel() == index.numel() and not result.is_floating_point():
            self.choices[id(result)] = (result, scores, axis)
        return result

    def _with_slope(self, result: Tensor, slope: Tensor) -> Tensor:
        if result.is_floating_point():
            return straight_through(result, slope)
        self.smooth[id(result)] = (result, slope)
        return result

    def _slope(self, value: Any) -> Tensor | None:
        found = self.smooth.get(id(value))
        return found[1] if found is not None and found[0] is value else None

    def _cast(self, name: str, func: Any, args: Any, kwargs: Any, result: Any) -> Any:
        slope = self._slope(args[0] if args else kwargs.get("input"))
        if slope is None or not isinstance(result, Tensor):
            return result
        if name in SHAPES:
            slope = func(slope, *args[1:], **kwargs)
        return self._with_slope(result, slope)

    def _as_number(self, value: Any) -> Any:
        """A mask that numbers are about to meet, as numbers with a slope."""
        slope = self._slope(value)
        return value if slope is None else straight_through(value.to(slope.dtype), slope)
