"""Which edits change the loss? The pair of head and criterion that fits the targets, signs, shapes
and reductions; answers stay on the scale of the user's targets."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainwright.check.pairing.head import class_axis
from trainwright.check.sample import first_tensor
from trainwright.check.score import threshold
from trainwright.core.errors import shown
from trainwright.core.facts import TargetFacts, TargetKind
from trainwright.core.phrases import phrase
from trainwright.edit.edit import Context, Edit, Knobs, nothing_to_change, refused
from trainwright.edit.gradient import straight_through
from trainwright.edit.program import Decode, Done, Program
from trainwright.edit.surgical import bare_head
from trainwright.recipe import Recipe

SMOOTHING = 0.1  # of a label's probability, over all classes [paper: arXiv:1512.00567, section 7]
NORMAL_SD = 1.4826  # of the median distance from the median, in a normal distribution
FOCUS = 2.0  # gamma of the focal loss, best of 0 to 5 [paper: arXiv:1708.02002, section 5.1]
UNASKED = -100  # a class number that cross-entropy leaves out, as in torch


class OnLogits(nn.Module):
    """The criterion that fits targets of a kind, on raw outputs of any shape that holds them.

    indices and one_hot: cross-entropy over classes; zero_one and multi_hot: binary cross-entropy of
    each output; plus_minus_one: log(1 + exp(-y z)); real: squared error, mean over all.

    `smoothing` is the share of a label's probability that all classes get; beyond `delta` errors of
    real targets count by their size alone. Of classes, zeros and ones: with `gamma` a term -log p
    counts (1 - p)^gamma times; `prior` [class] or [output] is added to the logits.
    """

    def __init__(
        self, kind: TargetKind, *, smoothing: float = 0.0, delta: float | None = None,
        gamma: float = 0.0, prior: tuple[float, ...] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kind: TargetKind = kind
        self.smoothing, self.delta = smoothing, delta
        self.gamma, self.prior = gamma, prior

    def but(self, **settings: Any) -> "OnLogits":
        """The same criterion, some of its settings changed."""
        kept = {"smoothing": self.smoothing, "delta": self.delta, "gamma": self.gamma,
                "prior": self.prior}  # fmt: skip
        return OnLogits(self.kind, **(kept | settings))

    def forward(self, outputs: Any, targets: Tensor) -> Tensor:
        """Scalar."""
        logits = first_tensor(outputs)
        assert logits is not None, "the network returned no tensor"
        match self.kind:
            case "indices" | "one_hot":
                return self._over_classes(logits, targets)
            case "zero_one" | "multi_hot" if logits.numel() != targets.numel():
                return self._over_classes(logits, targets.reshape(len(targets)).long())
            case "zero_one" | "multi_hot":
                aligned = targets.reshape(logits.shape).to(logits.dtype)
                smooth = aligned * (1 - self.smoothing) + self.smoothing / 2
                return self._mean(F.binary_cross_entropy_with_logits(
                    self._raised(logits), smooth, reduction="none"))  # fmt: skip
            case "plus_minus_one":
                return F.soft_margin_loss(logits, targets.reshape(logits.shape).to(logits.dtype))
        aligned = targets.reshape(logits.shape).to(logits.dtype)
        if self.delta is not None:
            return F.huber_loss(logits, aligned, delta=self.delta)
        return F.mse_loss(logits, aligned)

    def _over_classes(self, logits: Tensor, targets: Tensor) -> Tensor:
        axis = class_axis(tuple(logits.shape), targets)
        if axis is None:
            axis = logits.ndim - 1
        last = self._raised(logits.movedim(axis, -1))
        if targets.shape == logits.shape and targets.is_floating_point():
            shares = targets.movedim(axis, -1)
            smooth = shares * (1 - self.smoothing) + self.smoothing / logits.shape[axis]
            return self._mean(-(smooth * last.log_softmax(-1)).sum(-1))
        classes = targets.reshape(-1).long()
        terms = F.cross_entropy(last.reshape(-1, last.shape[-1]), classes, reduction="none",
                                ignore_index=UNASKED, label_smoothing=self.smoothing)  # fmt: skip
        return self._mean(terms[classes != UNASKED])

    def _raised(self, logits: Tensor) -> Tensor:
        """[..., class] with the prior."""
        return logits if self.prior is None else logits + logits.new_tensor(self.prior)

    def _mean(self, terms: Tensor) -> Tensor:
        """Of -log p, each by how much p misses."""
        if self.gamma:
            terms = (-torch.expm1(-terms)) ** self.gamma * terms
        return terms.mean()


class _Linked:
    """Raw outputs as the probabilities that the user's targets are, then what decoded before."""

    def __init__(self, before: Decode) -> None:
        self.before = before

    def __call__(self, outputs: Tensor) -> Tensor:
        return self.before(outputs.sigmoid())


LINES: dict[TargetKind, str] = {
    "indices": "criterion = nn.CrossEntropyLoss()  # the network ends without softmax",
    "one_hot": "criterion = nn.CrossEntropyLoss()  # the network ends without softmax",
    "zero_one": "criterion = nn.BCEWithLogitsLoss()  # the network ends without sigmoid",
    "multi_hot": "criterion = nn.BCEWithLogitsLoss()  # the network ends without sigmoid",
    "plus_minus_one": "criterion = nn.SoftMarginLoss()  # the network ends without activation",
    "real": "criterion = nn.MSELoss()  # the network ends without activation",
}


SINGLE: tuple[TargetKind, ...] = ("zero_one", "multi_hot")  # a yes or no for each output
ROBUST_LINES: dict[TargetKind, str] = {
    "indices": f"criterion = nn.CrossEntropyLoss(label_smoothing={SMOOTHING})",
    "one_hot": f"criterion = nn.CrossEntropyLoss(label_smoothing={SMOOTHING})",
    "zero_one": f"y = y * {1 - SMOOTHING:g} + {SMOOTHING / 2:g}  # before nn.BCEWithLogitsLoss()",
    "multi_hot": f"y = y * {1 - SMOOTHING:g} + {SMOOTHING / 2:g}  # before nn.BCEWithLogitsLoss()",
}


def fitting_pair(
    program: Program, context: Context, *, name: str = "pair_head_and_loss"
) -> Program:
    """Raw outputs, and the criterion that fits the targets."""
    known, head = program.facts.targets, program.facts.head
    if known is None or head is None:
        raise refused(name, phrase("what the targets are could not be found out"))
    if isinstance(program.loss, OnLogits):
        raise nothing_to_change(name)
    kind = target_kind(program, known)
    _fits(kind, head.num_outputs, known.num_classes, name)
    squashed = threshold(program.facts) == 0.5 and written_as(program, kind) in SINGLE
    decode = _Linked(program.decode) if squashed else program.decode
    line = LINES[written_as(program, kind)]
    paired = bare_head(program).after(Done(name=name, lines=(line,)), decode=decode,
                                      loss=OnLogits(kind))  # fmt: skip
    _try(paired, name)
    return paired


def target_kind(program: Program, known: TargetFacts) -> TargetKind:
    """What the targets are by now: two numbers may have become 0 and 1."""
    encoded = any(done.name == "encode_labels" for done in program.done)
    coded = known.codes is not None and (encoded or known.kind == "real")
    return "zero_one" if coded else known.kind


def written_as(program: Program, kind: TargetKind) -> TargetKind:
    """Two classes side by side are told apart as any number of them is."""
    return "indices" if kind in SINGLE and not _one_each(program) else kind


def _one_each(program: Program) -> bool:
    """Is there one output for each target? (else two classes stand side by side)"""
    head, targets = program.facts.head, program.train.targets
    return head is not None and isinstance(targets, Tensor) and (
        head.num_outputs == max(1, targets[0].numel())
    )  # fmt: skip


def _try(program: Program, name: str) -> None:
    """Does the loss take what the network gives?"""
    few, (model, _) = program.few(), program.start(0)
    try:
        with torch.no_grad():
            program.loss(few.call(model), few.targets)
    except (RuntimeError, ValueError, IndexError) as error:
        why = phrase("the fitting loss cannot be computed: {reason}", reason=shown(str(error)))
        raise refused(name, why) from None


def _fits(kind: TargetKind, outputs: int, classes: int, name: str) -> None:
    if kind in ("indices", "one_hot") and outputs < classes:
        raise refused(name, phrase("{outputs} outputs cannot tell {classes} classes apart",
                                   outputs=outputs, classes=classes))  # fmt: skip


def robust_loss(program: Program, context: Context) -> Program:
    """Raw outputs, and a criterion to which single wrong targets matter less.
    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7; Huber 1964."""
    name = "robust_loss"
    paired, loss = paired_for(program, context, name)
    if loss.smoothing or loss.delta is not None:
        raise nothing_to_change(name)
    kind = loss.kind
    if kind == "plus_minus_one":
        raise refused(name, phrase("the loss that fits +1 and -1 is robust already"))
    if loss.gamma:
        raise refused(name, phrase("a focal loss minds hard examples more, a robust one less"))
    delta = _usual_distance(program.train.targets) if kind == "real" else None
    line = (f"criterion = nn.HuberLoss(delta={delta:.3g})" if delta
            else ROBUST_LINES[written_as(program, kind)])  # fmt: skip
    robust = loss.but(smoothing=0.0 if delta else SMOOTHING, delta=delta)
    return with_loss(program, paired, robust, Done(name=name, lines=(line,)))


def focal_loss(program: Program, context: Context) -> Program:
    """Raw outputs, and -(1 - p)^gamma log p of the right answer's probability p: what is known
    already hardly counts, so that the many easy examples of common classes do not drown the rare.
    Source: Lin et al. 2017, arXiv:1708.02002, equation 4."""
    name = "focal_loss"
    paired, loss = paired_for(program, context, name)
    if loss.gamma:
        raise nothing_to_change(name)
    if loss.kind in ("real", "plus_minus_one"):
        raise refused(name, phrase("the targets are no classes, and no zeros and ones"))
    if loss.smoothing:
        raise refused(name, phrase("a focal loss minds hard examples more, a robust one less"))
    single = written_as(program, loss.kind) in SINGLE
    usual = "binary_cross_entropy_with_logits" if single else "cross_entropy"
    lines = (f"misses = F.{usual}(outputs, y, reduction='none')",
             f"loss = ((1 - (-misses).exp()) ** {FOCUS:g} * misses).mean()")  # fmt: skip
    return with_loss(program, paired, loss.but(gamma=FOCUS), Done(name=name, lines=lines))


def paired_for(program: Program, context: Context, name: str) -> tuple[Program, OnLogits]:
    """The program with the criterion that fits its targets, and that criterion."""
    fitting = isinstance(program.loss, OnLogits)
    paired = program if fitting else fitting_pair(program, context, name=name)
    assert isinstance(paired.loss, OnLogits)
    return paired, paired.loss


def with_loss(program: Program, paired: Program, loss: OnLogits, done: Done) -> Program:
    """The paired program with another criterion. Of the pair only what it took beside the loss is
    told: a head without activation."""
    before = paired.done[len(program.done) : -1]
    made = replace(paired, loss=loss, done=(*program.done, *before, done))
    _try(made, done.name)
    return made


def _usual_distance(targets: Any) -> float:
    """The sd that the middle half of the targets would have, 1 where they hardly differ."""
    values = targets[torch.isfinite(targets)].double()
    spread = NORMAL_SD * float((values - values.median()).abs().median())
    return spread if spread > 0 else 1.0


def _linear_head(program: Program, context: Context) -> Program:
    bare = bare_head(program)
    if bare is program:
        raise nothing_to_change("linear_head")
    return bare


def _swap_loss(program: Program, context: Context) -> Program:
    return fitting_pair(program, context, name="swap_loss")


def _stable_loss(program: Program, context: Context) -> Program:
    return fitting_pair(program, context, name="stable_loss")


def _surrogate_loss(program: Program, context: Context) -> Program:
    if program.facts.model is not None and program.facts.model.gradient_missing and not (
        program.facts.loss is not None and not program.facts.loss.differentiable
    ):  # fmt: skip
        raise refused("surrogate_loss", phrase("the graph is cut within the network"))
    return fitting_pair(program, context, name="surrogate_loss")


class Mean(nn.Module):
    """A criterion that sums, as a mean over the batch's rows."""

    def __init__(self, criterion: Any) -> None:
        super().__init__()
        self.criterion = criterion

    def forward(self, outputs: Any, targets: Any) -> Tensor:
        """Scalar."""
        first = first_tensor(outputs)
        rows = len(first) if first is not None and first.ndim else 1
        return self.criterion(outputs, targets) / rows


class Aligned(nn.Module):
    """A criterion that is given targets in the shape of the outputs."""

    def __init__(self, criterion: Any) -> None:
        super().__init__()
        self.criterion = criterion

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Scalar."""
        return self.criterion(outputs, targets.reshape(outputs.shape))


def _reduce_mean(program: Program, context: Context) -> Program:
    known = program.facts.loss
    if isinstance(program.loss, Mean | OnLogits) or (
        known is not None and known.reduction == "mean"
    ):
        raise nothing_to_change("reduce_mean")
    return program.after(Done(name="reduce_mean", lines=("criterion = ...(reduction='mean')",)),
                         loss=Mean(program.loss))  # fmt: skip


def _align_shapes(program: Program, context: Context) -> Program:
    if isinstance(program.loss, Aligned | OnLogits):
        raise nothing_to_change("align_shapes")
    few = program.few()
    with torch.no_grad():
        outputs = first_tensor(few.run(program.start(0)[0].eval()))
    targets = few.targets
    if outputs is None or not isinstance(targets, Tensor) or outputs.numel() != targets.numel():
        raise refused("align_shapes", phrase("outputs and targets are not equally many"))
    if outputs.shape == targets.shape:
        raise nothing_to_change("align_shapes")
    return program.after(
        Done(name="align_shapes", lines=("loss = criterion(output, y.reshape(output.shape))",)),
        loss=Aligned(program.loss),
    )


def _usual_loss(recipe: Recipe, context: Context) -> Knobs:
    """The task's own loss, without the settings of another one."""
    others = ("huber_delta", "quantile", "hinge_power")
    return {"loss.name": "auto"} | {f"loss.{name}": None for name in others}


def edits() -> tuple[Edit, ...]:
    """All of this file; reasons are spoken when they are asked for."""
    whole = phrase("recipes build networks that cut no gradient; yours is mended in its own file")
    done = phrase("recipes do so by themselves; a network of your own file is mended there")
    weights = phrase("recipes have no knob for it: set loss.class_weights = 'balanced'")
    table: dict[str, Any] = {
        "pair_head_and_loss": (fitting_pair, _usual_loss, ""),
        "linear_head": (_linear_head, None, done),
        "swap_loss": (_swap_loss, _usual_loss, ""),
        "stable_loss": (_stable_loss, _usual_loss, ""),
        "surrogate_loss": (_surrogate_loss, _usual_loss, ""),
        "straight_through": (straight_through, None, whole),
        "reduce_mean": (_reduce_mean, _usual_loss, ""),
        "align_shapes": (_align_shapes, None, done),
        "focal_loss": (focal_loss, None, weights),
    }
    return tuple(Edit(name=name, program=program, knobs=knobs, instead=instead)
                 for name, (program, knobs, instead) in table.items())  # fmt: skip
