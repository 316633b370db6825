"""Which edits change the data? Scaling, order, classes and rows, of programs and of recipes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwright.check.pairing.codes import Codes, zero_one
from trainwright.check.sample import Sample, first_tensor
from trainwright.core.phrases import phrase
from trainwright.diagnose.scale import SCALE, SHIFT
from trainwright.edit.edit import Context, Edit, Knobs, habit, knob, nothing_to_change, refused
from trainwright.edit.loss import SMOOTHING, OnLogits, robust_loss
from trainwright.edit.program import Decode, Done, Program, mapped_inputs, mapped_targets
from trainwright.recipe import Recipe

ODD_SD = 10.0  # rows this many times as far from the median row as usual are outliers [assumed]
FOLDS = 3


class Scaled:
    """(x - mean) / sd, or by any other middle and width."""

    def __init__(self, mean: Tensor, sd: Tensor) -> None:
        self.mean, self.sd = mean, sd

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self.mean.to(x)) / self.sd.to(x)

    @property
    def is_idle(self) -> bool:
        """It would change next to nothing."""
        centred = bool((self.mean.abs() < 1e-3).all())
        return centred and bool(((self.sd - 1).abs() < 1e-3).all())


class Unscaled:
    """outputs * sd + mean, then what decoded them before: answers in the user's unit."""

    def __init__(self, mean: float, sd: float, before: Decode) -> None:
        self.mean, self.sd, self.before = mean, sd, before

    def __call__(self, outputs: Tensor) -> Tensor:
        return self.before(outputs * self.sd + self.mean)


def scaler(inputs: Tensor) -> Scaled:
    """Mean and sd of each feature of a table [row, feature] or sequence [row, time, feature]; of
    images one of each, since their axes may lie in any order. What does not vary is only centred.
    """
    axes = tuple(range(inputs.ndim - 1)) if inputs.ndim <= 3 else tuple(range(inputs.ndim))
    values = torch.where(torch.isfinite(inputs), inputs, torch.nan).double()
    mean = values.nanmean(axes, keepdim=True)
    sd = ((values - mean) ** 2).nanmean(axes, keepdim=True).sqrt()
    return Scaled(mean, torch.where(sd > 1e-12 * (1 + mean.abs()), sd, torch.ones_like(sd)))


def _standardise_inputs(program: Program, context: Context) -> Program:
    scale = _scaler_of(program.train, "standardise_inputs")
    return _standardised(program, "standardise_inputs", scale, scale)


def _fix_transform(program: Program, context: Context) -> Program:
    """Held-out inputs by their own mean and sd where another transform than the training split's
    made them: from numbers scaled apart, that is as near as one comes to one scaler for all."""
    known = program.facts.inputs
    apart = known is not None and (
        (known.shift_sd or 0.0) > SHIFT or (known.shift_scale or 1.0) > SCALE
    )
    scale = _scaler_of(program.train, "fix_transform")
    held = _scaler_of(program.judged, "fix_transform") if apart else scale
    return _standardised(program, "fix_transform", scale, held)


def _scaler_of(sample: Sample, name: str) -> Scaled:
    return scaler(real_inputs(sample, name))


def real_inputs(sample: Sample, name: str) -> Tensor:
    """The first inputs that are real numbers. Raises NotApplicable where none are."""
    first = next((p for p in sample.inputs
                  if isinstance(p, Tensor) and p.is_floating_point()), None)  # fmt: skip
    if first is None:
        raise refused(name, phrase("the inputs are no real numbers"))
    return first


def _standardised(program: Program, name: str, scale: Scaled, held: Scaled) -> Program:
    dims = scale.mean.ndim
    axes = "0" if dims == 2 else "(0, 1)" if dims == 3 else "None"
    lines = (
        f"mean, sd = X_train.mean({axes}), X_train.std({axes}) + 1e-12",
        "X_train, X_valid = (X_train - mean) / sd, (X_valid - mean) / sd",
    )
    return scaled_inputs(program, name, scale, held, lines)


def scaled_inputs(
    program: Program, name: str, scale: Scaled, held: Scaled, lines: tuple[str, ...]
) -> Program:
    """Training inputs by one scaler, held-out ones by the other.

    Raises NotApplicable where neither would change anything.
    """
    if scale.is_idle and held.is_idle:
        raise nothing_to_change(name)
    return program.after(
        Done(name=name, lines=lines), train=mapped_inputs(program.train, scale),
        judged=mapped_inputs(program.judged, held),
        valid=mapped_inputs(program.valid, held) if program.valid is not None else None,
    )  # fmt: skip


def _standardise_target(program: Program, context: Context) -> Program:
    targets = program.train.targets
    known = program.facts.targets
    if not isinstance(targets, Tensor) or known is None or known.task != "regression":
        raise refused("standardise_target", phrase("the targets are no real numbers"))
    values = targets[torch.isfinite(targets)].double()
    mean, sd = float(values.mean()), float(values.std(correction=0))
    sd = sd if sd > 0 else 1.0  # also where there is but one value
    if abs(mean) < 1e-3 and abs(sd - 1) < 1e-3:
        raise nothing_to_change("standardise_target")

    def scale(y: Tensor) -> Tensor:
        return ((y.double() - mean) / sd).float()

    lines = (
        "mean, sd = y_train.mean(), y_train.std()",
        "y_train, y_valid = (y_train - mean) / sd, (y_valid - mean) / sd",
        "answers = model(X) * sd + mean",
    )
    return program.after(
        Done(name="standardise_target", lines=lines),
        train=mapped_targets(program.train, scale),
        valid=mapped_targets(program.valid, scale) if program.valid is not None else None,
        decode=Unscaled(mean, sd, program.decode),
    )  # fmt: skip


def _weigh_classes(program: Program, context: Context) -> Program:
    known = program.facts.targets
    if known is None or known.task == "regression":
        raise refused("weigh_classes", phrase("there are no classes to weigh"))
    if isinstance(program.loss, OnLogits) and program.loss.prior is not None:
        raise refused("weigh_classes", phrase("the loss corrects for how frequent classes are"))
    lines = (
        "weights = (1 / torch.bincount(y_train).float())[y_train]",
        "sampler = WeightedRandomSampler(weights, len(weights))",
        "loader = DataLoader(dataset, batch_size=..., sampler=sampler)",
    )
    return habit("weigh_classes", *lines, balanced=True)(program, context)


def _drop_rows(program: Program, context: Context) -> Program:
    bad = _bad_rows(program.train)
    if not bad.any():
        raise nothing_to_change("drop_rows")
    kept = np.flatnonzero(~bad)
    line = f"X_train, y_train = X_train[good], y_train[good]  # without {int(bad.sum())} rows"
    return program.after(
        Done(name="drop_rows", values={"count": int(bad.sum())}, lines=(line,)),
        train=program.train.pick(kept), judged=_judgeable(program.judged),
        valid=None if program.valid is None else _judgeable(program.valid),
    )  # fmt: skip


def _judgeable(sample: Sample) -> Sample:
    """The rows whose targets are numbers: answers to the others cannot be judged."""
    targets = first_tensor(sample.targets)
    if targets is None or not targets.is_floating_point() or bool(torch.isfinite(targets).all()):
        return sample
    known = torch.isfinite(targets.detach().cpu().reshape(len(targets), -1)).all(1)
    return sample.pick(np.flatnonzero(known.numpy()))


def _bad_rows(sample: Sample) -> np.ndarray:
    """[row] whether a row holds a number that is none, or lies ODD_SD times as far out as usual."""
    bad = np.zeros(sample.num_rows, dtype=bool)
    for part in (first_tensor(sample.inputs), first_tensor(sample.targets)):
        if part is None or not part.is_floating_point():
            continue
        flat = part.detach().cpu().reshape(len(part), -1).double()
        bad |= ~torch.isfinite(flat).all(1).numpy()
        away = (flat - flat.nanmedian(0).values).abs().nan_to_num(posinf=0.0)
        spread = away.median(0).values
        away = (away / torch.where(spread > 0, spread, torch.inf)).amax(1)
        usual = float(away.median())
        bad |= (away > ODD_SD * max(usual, 1.0)).numpy()
    return bad


def _clean_labels(program: Program, context: Context) -> Program:
    """Training rows that quick learners, trained without them, take for another class as surely as
    they know that class's own rows are left out.

    Of 72 labels of one class in five moved to another, 42 are found; where a tenth was asked as the
    own label's chance it was 11 [measured: 3 seeds of 360 rows in three clouds, 8 sd apart].
    Source: confident learning, Northcutt et al. 2021, arXiv:1911.00068, equation 2."""
    classes = _classes(program.train)
    inputs = first_tensor(program.train.inputs)
    if classes is None or inputs is None or len(set(classes)) < 2:
        raise refused("clean_labels", phrase("there are no classes whose labels could be wrong"))
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.model_selection import cross_val_predict

    flat = inputs.detach().cpu().reshape(len(inputs), -1).float().nan_to_num().numpy()
    learner = ExtraTreesClassifier(100, random_state=0, n_jobs=1)
    chances = np.asarray(
        cross_val_predict(learner, flat, classes, cv=FOLDS, method="predict_proba")
    )
    place = np.searchsorted(np.unique(classes), classes)
    usual = np.array([chances[place == each, each].mean() for each in range(chances.shape[1])])
    sure = np.where(chances >= usual, chances, -1.0)
    doubted = (sure.max(1) >= 0) & (sure.argmax(1) != place)
    if not doubted.any():
        raise nothing_to_change("clean_labels")
    line = f"X_train, y_train = X_train[kept], y_train[kept]  # without {int(doubted.sum())} rows"
    return program.after(
        Done(name="clean_labels", values={"count": int(doubted.sum())}, lines=(line,)),
        train=program.train.pick(np.flatnonzero(~doubted)),
    )


def _classes(sample: Sample) -> np.ndarray | None:
    """[row] class numbers; None for targets that are no classes of whole rows."""
    targets = sample.targets
    if not isinstance(targets, Tensor) or len(targets) != sample.num_rows:
        return None
    if targets.ndim == 2 and targets.shape[1] > 1 and targets.is_floating_point():
        return targets.argmax(1).cpu().numpy()
    flat = targets.reshape(-1)
    whole = len(flat) == sample.num_rows and bool((flat == flat.round()).all())
    return flat.long().cpu().numpy() if whole else None


def _encode_labels(program: Program, context: Context) -> Program:
    """0 and 1 where the loss wants them, class numbers from 0 for several outputs."""
    known = program.facts.targets
    if known is not None and known.codes is not None:
        return _zero_one(program, known.codes)
    targets, head = program.train.targets, program.facts.head
    if not isinstance(targets, Tensor) or head is None or targets.is_floating_point():
        raise refused("encode_labels", phrase("the targets are no class numbers"))
    low, high = int(targets.min()), int(targets.max())
    if low <= 0:
        raise refused("encode_labels", phrase("the class numbers start at 0 already"))
    if high - low >= head.num_outputs:
        raise refused("encode_labels", phrase(
            "class numbers from {low} to {high} are too many for {outputs} outputs",
            low=low, high=high, outputs=head.num_outputs))  # fmt: skip

    def shift(y: Tensor) -> Tensor:
        return y - low

    return program.after(
        Done(name="encode_labels", lines=(f"y_train, y_valid = y_train - {low}, y_valid - {low}",)),
        train=mapped_targets(program.train, shift), judged=mapped_targets(program.judged, shift),
        valid=mapped_targets(program.valid, shift) if program.valid is not None else None,
    )  # fmt: skip


def _zero_one(program: Program, codes: Codes) -> Program:
    """0 and 1 for the two numbers, where the loss is computed. The held-out answers are judged by
    the side that they are on, so that those targets stay as the user wrote them."""
    if any(done.name == "encode_labels" for done in program.done):
        raise nothing_to_change("encode_labels")
    low, high = codes
    line = f"y_train, y_valid = (y_train == {high:g}).float(), (y_valid == {high:g}).float()"

    def zero_or_one(y: Tensor) -> Tensor:
        return zero_one(y, codes)

    return program.after(
        Done(name="encode_labels", values={"low": low, "high": high}, lines=(line,)),
        train=mapped_targets(program.train, zero_or_one),
        valid=mapped_targets(program.valid, zero_or_one) if program.valid is not None else None,
    )  # fmt: skip


# --- recipes -------------------------------------------------------------------------------------


def _scale_knob(recipe: Recipe, context: Context) -> Knobs:
    """What is standardised already may still have tails that only quantiles tame."""
    bare = recipe.data.scale in ("none", "quantile")
    return {"data.scale": "standardise" if bare else "quantile"}


def _robust_knob(recipe: Recipe, context: Context) -> Knobs:
    if _is_regression(recipe, context):
        return {"loss.name": "huber"}
    return {"loss.label_smoothing": max(SMOOTHING, recipe.loss.label_smoothing)}


def _weights_knob(recipe: Recipe, context: Context) -> Knobs:
    if _is_regression(recipe, context):
        raise refused("weigh_classes", phrase("there are no classes to weigh"))
    return {"loss.class_weights": "balanced"}


def _is_regression(recipe: Recipe, context: Context) -> bool:
    known = context.facts.targets if context.facts is not None else None
    return recipe.data.task == "regression" or (known is not None and known.task == "regression")


def edits() -> tuple[Edit, ...]:
    """All of this file; reasons are spoken when they are asked for."""
    measured_on = phrase("the score itself is measured on these examples: mend them by hand")
    shuffle = habit("shuffle", "loader = DataLoader(dataset, batch_size=..., shuffle=True)",
                    shuffle=True)  # fmt: skip
    table: dict[str, Any] = {
        "standardise_inputs": (_standardise_inputs, _scale_knob, ""),
        "fix_transform": (_fix_transform, _scale_knob, ""),
        "standardise_target": (_standardise_target, knob("data.standardise_target", True), ""),
        "shuffle": (shuffle, knob("algorithm.sampler", "uniform"), ""),
        "weigh_classes": (_weigh_classes, _weights_knob, ""),
        "drop_rows": (_drop_rows, None, phrase("drop the rows in the file, and train again")),
        "clean_labels": (_clean_labels, None, phrase("look at the examples that are named")),
        "robust_loss": (robust_loss, _robust_knob, ""),
        "encode_labels": (_encode_labels, None, measured_on),
        "realign_labels": (None, None, measured_on),
        "fix_split": (None, None, measured_on),
        "stratify": (None, None, measured_on),
        "add_data": (None, knob("data.augment", "auto"), phrase("collect more examples")),
    }
    return tuple(Edit(name=name, program=program, knobs=knobs, instead=instead)
                 for name, (program, knobs, instead) in table.items())  # fmt: skip
