"""What are inputs and targets like, before any model sees them? Ranges, spreads, doubles, overlaps,
balance, order, and whether similar inputs have similar targets at all."""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from trainwright.check.pairing.answers import target_kind, task_of
from trainwright.check.pairing.head import class_axis
from trainwright.check.sample import Sample, first_tensor
from trainwright.core.facts import InputFacts, TargetFacts, TargetKind, TaskKind
from trainwright.core.phrases import phrase

WILD = 10.0  # times the usual distance from the median row: an outlier [assumed]
MOST_NEIGHBOURS = 1000  # rows among which neighbours are sought, by brute force
NUM_NEIGHBOURS = 5
NUM_SHUFFLES = 40
MOST_HASHED = 50_000_000  # numbers of a data set that is hashed whole: 0.2 s [assumed]
MOST_DEGREES = 30  # whole numbers that may be numbers of classes [assumed]
MOST_COUNTED = 1000  # classes whose counts are kept
MOST_FEATURES = 200  # that are tried alone
Near = tuple[np.ndarray, np.ndarray]  # chosen rows, [row, neighbour] places among them
Kind = Literal["table", "image", "sequence", "tokens", "other"]


def input_kind(x: Tensor) -> Kind:
    """By shape and type: integers are tokens, [N, F] a table, [N, C, H, W] an image."""
    if x.dtype != torch.bool and not x.is_floating_point():
        return "tokens" if x.ndim <= 2 else "other"
    if x.ndim == 3 and x.shape[1] == x.shape[2] and x.shape[1] >= 8:
        return "image"
    kinds: dict[int, Kind] = {1: "table", 2: "table", 3: "sequence", 4: "image"}
    return kinds.get(x.ndim, "other")


def features(x: Tensor, kind: Kind) -> np.ndarray:
    """[positions, feature]: columns of a table, channels of images and sequences."""
    values = x.detach().cpu().double()
    if x.ndim == 1 or (kind == "image" and x.ndim == 3):
        return values.reshape(-1, 1).numpy()
    if kind == "image" and not (x.shape[-1] in (1, 3, 4) and x.shape[1] > 4):
        values = values.movedim(1, -1)
    return values.reshape(-1, values.shape[-1]).numpy()


def flat(x: Tensor) -> np.ndarray:
    """[example, number] in double precision."""
    return x.detach().cpu().double().reshape(len(x), -1).numpy()


def input_facts(sample: Sample, valid: Sample | None = None) -> InputFacts:
    """Of the first input tensor."""
    x = first_tensor(sample.inputs[:1])
    if x is None or not x.numel():
        raise ValueError(phrase("no tensor among the inputs"))
    kind = input_kind(x)
    values, rows = features(x, kind), flat(x)
    finite = np.isfinite(values)
    known = np.where(finite, values, np.nan)
    bad_rows = ~np.isfinite(rows).all(1)
    with np.errstate(all="ignore"):
        mean = np.array([c[f].mean() if f.any() else 0.0
                         for c, f in zip(known.T, finite.T, strict=True)])  # fmt: skip
        sd = np.array([c[f].std() if f.any() else 0.0
                       for c, f in zip(known.T, finite.T, strict=True)])  # fmt: skip
    varies = sd > 1e-12 * np.maximum(1.0, np.abs(mean))
    every = values[finite]
    numbers = kind not in ("tokens",)
    offset = np.abs(mean[varies]) / sd[varies]
    shift, scale = _shift(valid, kind, mean, sd, varies)
    return InputFacts(
        kind=kind, num_examples=sample.num_examples or sample.num_rows,
        num_features=int(rows.shape[1] if kind == "table" else values.shape[1]),
        low=float(every.min(initial=np.inf)) if every.size else 0.0,
        high=float(every.max(initial=-np.inf)) if every.size else 0.0,
        mean=float(every.mean()) if every.size else 0.0,
        sd=float(every.std()) if every.size else 0.0,
        feature_sd_low=float(sd[varies].min()) if varies.any() and numbers else None,
        feature_sd_high=float(sd[varies].max()) if varies.any() and numbers else None,
        feature_offset_high=float(offset.max()) if varies.any() and numbers else None,
        constant_features=tuple(np.flatnonzero(~varies).tolist())[:1000] if numbers else (),
        nonfinite_rows=int(bad_rows.sum()),
        outlier_rows=_outliers(sample, x, kind, values) if numbers else (),
        duplicate_share=_duplicates(sample), overlap_share=_overlap(sample, valid),
        shift_sd=shift, shift_scale=scale,
    )  # fmt: skip


def _outliers(sample: Sample, x: Tensor, kind: Kind, values: np.ndarray) -> tuple[int, ...]:
    """Rows whose distance from the median row is more than WILD times the usual one. By rows: a
    feature that is hardly ever on, as a corner's pixel, has large values and does no harm."""
    rows = np.nan_to_num(values.reshape(len(x), -1), posinf=0.0, neginf=0.0)
    distance = np.linalg.norm(rows - np.median(rows, axis=0), axis=1)
    usual = float(np.median(distance))
    found = np.flatnonzero(distance > WILD * usual) if usual > 0 else np.zeros(0, np.int64)
    places = sample.numbers[found] if sample.numbers is not None else found
    return tuple(int(r) for r in places[:100])


def row_hashes(x: Tensor) -> np.ndarray:
    """One number per row, equal for equal rows: a random projection in double precision."""
    rows = x.detach().reshape(len(x), -1)
    own = torch.Generator().manual_seed(7)
    along = torch.rand(rows.shape[1], generator=own, dtype=torch.float64) + 0.5
    step = max(1, 4_000_000 // max(1, rows.shape[1]))
    parts = [torch.nan_to_num(part.cpu().double(), nan=0.1234) @ along
             for part in rows.split(step)]  # fmt: skip
    return torch.cat(parts).numpy()


def _whole(sample: Sample) -> Tensor | None:
    """All rows where that is quick, else those of the sample."""
    everything = sample.all_inputs
    if everything is not None and len(sample.inputs) == 1 and everything.numel() <= MOST_HASHED:
        return everything
    return first_tensor(sample.inputs)


def _duplicates(sample: Sample) -> float:
    hashes = np.zeros(sample.num_rows)
    for number, tensor in enumerate(t for t in sample.inputs if isinstance(t, Tensor)):
        hashes = hashes + (1 + 0.37 * number) * row_hashes(tensor)
    return 1.0 - len(np.unique(hashes)) / max(1, len(hashes))


def _overlap(sample: Sample, valid: Sample | None) -> float | None:
    """Share of validation rows that are training rows too."""
    if valid is None:
        return None
    train, held = _whole(sample), first_tensor(valid.inputs)
    if train is None or held is None or train.shape[1:] != held.shape[1:]:
        return None
    return float(np.isin(row_hashes(held), row_hashes(train)).mean())


def _shift(
    valid: Sample | None, kind: Kind, mean: np.ndarray, sd: np.ndarray, varies: np.ndarray
) -> tuple[float | None, float | None]:
    """(difference of means in train sd, ratio of sd or its inverse), each the median over features:
    a transform that was forgotten touches all, chance and rare pixels only some."""
    held = first_tensor(valid.inputs[:1]) if valid is not None else None
    if held is None or kind == "tokens" or not varies.any() or len(held) < 2:
        return None, None
    values = features(held, kind)
    if values.shape[1] != len(mean):
        return None, None
    with np.errstate(all="ignore"):
        other = np.nan_to_num(np.nanmean(values, 0)), np.nan_to_num(np.nanstd(values, 0))
    ratio = np.maximum(other[1][varies], 1e-12) / sd[varies]
    return (float(np.median(np.abs((other[0] - mean)[varies] / sd[varies]))),
            float(np.median(np.maximum(ratio, 1 / ratio))))  # fmt: skip


def labels(targets: Any, kind: TargetKind) -> np.ndarray | None:
    """One class number per example, None where there is not exactly one."""
    if not isinstance(targets, Tensor):
        return None
    t = targets.detach().cpu()
    if kind == "one_hot":
        axis = class_axis(tuple(t.shape), t)
        found = t.argmax(axis if axis is not None else -1)
        return found.numpy() if found.ndim == 1 else None
    if kind in ("zero_one", "plus_minus_one"):
        return (t.reshape(len(t), -1)[:, 0] > 0.5).long().numpy() if t[0].numel() == 1 else None
    if kind == "indices" and t[0].numel() == 1:
        return t.reshape(-1).long().numpy()
    return None


def target_facts(
    sample: Sample, valid: Sample | None = None, *, outputs: tuple[int, ...] | None = None,
    task: TaskKind | None = None, kind: TargetKind | None = None,
) -> TargetFacts:  # fmt: skip
    """`outputs` is the shape of the model's outputs for as many rows as the sample's first ones."""
    targets = sample.targets
    if not isinstance(targets, Tensor) or not targets.numel():
        raise ValueError(phrase("the targets are no tensor"))
    few = targets[: outputs[0]] if outputs else targets
    kind = kind or _settled(target_kind(few, outputs), targets, outputs)
    task = task or task_of(kind, targets)
    everything = sample.all_targets if sample.all_targets is not None else targets
    numbers = everything.detach().cpu().double()
    good = numbers[torch.isfinite(numbers)]
    low, high = (float(good.min()), float(good.max())) if good.numel() else (0.0, 0.0)
    classes, total = labels(targets, kind), labels(everything, kind)
    num_classes = _num_classes(kind, targets, outputs, high)
    near = _nearest(sample)
    neighbours = _agreement(sample, classes, near)
    alike = _alike(sample, near) if kind == "real" else (None, None)
    return TargetFacts(
        kind=kind, task=task, shape=tuple(targets.shape[1:]), num_classes=num_classes, low=low,
        high=high, mean=float(good.mean()) if good.numel() else 0.0,
        sd=float(good.std(unbiased=False)) if good.numel() else 0.0,
        kurtosis=_kurtosis(good) if kind == "real" else None,
        counts=_counts(everything, kind, num_classes),
        valid_counts=_counts(valid.targets, kind, num_classes) if valid is not None else (),
        conflicting_share=_conflicting(sample, kind), neighbour_agreement=neighbours[0],
        neighbour_chance=neighbours[1], neighbour_chance_high=neighbours[2],
        neighbour_same=alike[0], neighbour_apart=alike[1],
        single_feature=_single_feature(sample, classes, kind),
        order_correlation=_order(everything, total, kind),
        bad_values=_bad_values(everything, kind, num_classes),
    )  # fmt: skip


def _settled(kind: TargetKind, targets: Tensor, outputs: tuple[int, ...] | None) -> TargetKind:
    """A few rows may be all ones: what they are is seen in all rows."""
    if kind in ("one_hot", "indices"):
        return kind
    shape = None if outputs is None else (len(targets), *outputs[1:])
    return target_kind(targets, shape)


def _num_classes(
    kind: TargetKind, targets: Tensor, outputs: tuple[int, ...] | None, high: float
) -> int:  # fmt: skip
    if kind == "indices":
        axis = class_axis(outputs, targets) if outputs else None
        return max(int(high) + 1, outputs[axis] if outputs and axis is not None else 0)
    if kind == "one_hot":
        axis = class_axis(tuple(targets.shape), targets)
        return int(targets.shape[axis if axis is not None else -1])
    if kind == "multi_hot":
        return int(targets.shape[1])
    return 0 if kind == "real" else 2


def _counts(targets: Any, kind: TargetKind, num_classes: int) -> tuple[int, ...]:
    if not isinstance(targets, Tensor) or not 0 < num_classes <= MOST_COUNTED:
        return ()
    if kind == "multi_hot":
        columns = targets.detach().cpu().double().movedim(1, -1).reshape(-1, targets.shape[1])
        return tuple(int(v) for v in (columns > 0.5).sum(0))
    found = labels(targets, kind)
    if found is None and kind == "indices":
        found = targets.detach().cpu().reshape(-1).long().numpy()
    if found is None:
        return ()
    inside = found[(found >= 0) & (found < num_classes)]
    return tuple(int(v) for v in np.bincount(inside, minlength=num_classes))


def _kurtosis(values: Tensor) -> float | None:
    sd = values.std(unbiased=False) if values.numel() > 1 else torch.zeros(())
    if float(sd) == 0.0:
        return None
    return float((((values - values.mean()) / sd) ** 4).mean() - 3)


def _bad_values(targets: Tensor, kind: TargetKind, num_classes: int) -> int:
    values = targets.detach().cpu()
    if values.is_floating_point():
        return int((~torch.isfinite(values)).sum())
    if kind != "indices":
        return 0
    return int((((values < 0) & (values != -100)) | (values >= num_classes)).sum())


def _conflicting(sample: Sample, kind: TargetKind) -> float:
    """Share of examples whose inputs occur again with another target."""
    x = first_tensor(sample.inputs[:1])
    if x is None or len([t for t in sample.inputs if isinstance(t, Tensor)]) > 1:
        return 0.0
    _, group = np.unique(row_hashes(x), return_inverse=True)
    both = np.stack([group.astype(float), row_hashes(sample.targets)], 1)
    pairs = np.unique(both, axis=0)[:, 0].astype(int)
    answers = np.bincount(pairs, minlength=group.max() + 1)
    return float((answers[group] > 1).mean())


def _order(everything: Tensor, total: np.ndarray | None, kind: TargetKind) -> float | None:
    """Of each example's target and the next one's, in file order: 0 shuffled, 1 sorted."""
    if len(everything) < 20:
        return None
    if total is not None:
        shares = np.unique(total, return_counts=True)[1] / len(total)
        chance = float((shares**2).sum())
        if chance > 1 - 1e-9:
            return None
        return (float((total[1:] == total[:-1]).mean()) - chance) / (1 - chance)
    if kind not in ("real", "multi_hot"):
        return None
    values = everything.detach().cpu().double().reshape(len(everything), -1)
    values = torch.nan_to_num(values - values.nanmean(0))
    variance = float((values**2).mean())
    return float((values[1:] * values[:-1]).mean()) / variance if variance > 0 else None


def standardised(x: Tensor) -> np.ndarray:
    """[example, feature] with mean 0 and sd 1, constant features zero, non-finite ones too."""
    rows = np.nan_to_num(flat(x), nan=0.0, posinf=0.0, neginf=0.0)
    rows = rows - rows.mean(0)
    sd = rows.std(0)
    return rows / np.where(sd > 1e-9, sd, 1.0)


def _goal(targets: Tensor, classes: np.ndarray | None) -> np.ndarray | None:
    """Numbers to be averaged over neighbours: one-hot classes or standardised columns."""
    if classes is not None:
        present = np.unique(classes)
        return (classes[:, None] == present).astype(float) if len(present) > 1 else None
    values = np.nan_to_num(flat(targets))
    if values.shape[1] > 64 or not (values.std(0) > 0).any():
        return None
    return values - values.mean(0)


def _alike(sample: Sample, near: Near | None) -> tuple[float | None, float | None]:
    """Of targets that are few whole numbers: (share of near neighbours with the same one, mean
    difference of the others). Numbers of classes differ by anything, degrees mostly by one."""
    values = flat(sample.targets)
    if near is None or values.shape[1] != 1 or not np.array_equal(values, np.rint(values)):
        return None, None
    if not 3 <= len(np.unique(values)) <= MOST_DEGREES:
        return None, None
    values = values[near[0], 0]
    apart = np.abs(values[near[1]] - values[:, None])
    others = apart[apart > 0]
    return float((apart == 0).mean()), float(others.mean()) if len(others) else None


def _nearest(sample: Sample) -> Near | None:
    """(chosen rows, [row, neighbour] places among them); None where distances mean nothing."""
    x = first_tensor(sample.inputs[:1])
    if x is None or not x.is_floating_point() or sample.num_rows < 4 * NUM_NEIGHBOURS:
        return None
    chosen = np.linspace(0, len(x) - 1, min(len(x), MOST_NEIGHBOURS)).astype(int)
    rows = standardised(x[torch.from_numpy(chosen).to(x.device)])
    squares = (rows**2).sum(1)
    distance = squares[:, None] + squares - 2 * rows @ rows.T
    np.fill_diagonal(distance, np.inf)
    return chosen, np.argpartition(distance, NUM_NEIGHBOURS, axis=1)[:, :NUM_NEIGHBOURS]


def _agreement(
    sample: Sample, classes: np.ndarray | None, near: Near | None
) -> tuple[float | None, float | None, float | None]:
    """(agreement of the nearest neighbours, by chance, its 99 % point)."""
    goal = _goal(sample.targets, classes)
    if near is None or goal is None:
        return None, None, None
    goal, nearest = goal[near[0]], near[1]

    def agreement(values: np.ndarray) -> float:
        around = values[nearest].mean(1)
        if classes is not None:
            return float((around * values).sum(1).mean())
        variance = float(((values - values.mean(0)) ** 2).mean())
        return 1 - float(((around - values) ** 2).mean()) / variance if variance > 0 else 0.0

    own = np.random.default_rng(0)
    by_chance = [agreement(goal[own.permutation(len(goal))]) for _ in range(NUM_SHUFFLES)]
    high = float(np.mean(by_chance) + 2.33 * np.std(by_chance))
    return agreement(goal), float(np.mean(by_chance)), high


def _single_feature(
    sample: Sample, classes: np.ndarray | None, kind: TargetKind
) -> tuple[int, float, float] | None:
    """(the column that alone predicts best, its score, that of the next best one), by means in 20
    bins: fitted on even rows, scored on odd ones (accuracy or R2)."""
    x = first_tensor(sample.inputs[:1])
    if x is None or input_kind(x) != "table" or x.ndim != 2 or len(x) < 40:
        return None
    goal = _goal(sample.targets, classes)
    if goal is None or (classes is None and kind != "real"):
        return None
    rows, scores = standardised(x), np.full(min(x.shape[1], MOST_FEATURES), -np.inf)
    for column in range(min(rows.shape[1], MOST_FEATURES)):
        edges = np.unique(np.quantile(rows[:, column], np.linspace(0, 1, 21)[1:-1]))
        bins = np.searchsorted(edges, rows[:, column])
        sums = np.zeros((len(edges) + 1, goal.shape[1]))
        np.add.at(sums, bins[::2], goal[::2])
        numbers = np.bincount(bins[::2], minlength=len(edges) + 1)[:, None]
        guess, real = (sums / np.maximum(1, numbers))[bins[1::2]], goal[1::2]
        scores[column] = _score(guess, real, classes is not None)
    if not len(scores):
        return None
    first, *rest = np.argsort(scores)[::-1]
    return int(first), float(scores[first]), float(scores[rest[0]]) if rest else -np.inf


def _score(guess: np.ndarray, real: np.ndarray, are_classes: bool) -> float:
    if are_classes:
        return float((guess.argmax(1) == real.argmax(1)).mean())
    return 1 - float(((guess - real) ** 2).mean()) / max(float(real.var(0).mean()), 1e-12)
