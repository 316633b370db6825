"""What is to be predicted? The target column, the task it makes, its classes or its scale."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from trainwright.core.errors import DataError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice
from trainwright.core.task import Task, TaskKind
from trainwright.data import batch
from trainwright.data.batch import Targets
from trainwright.data.table.refused import (
    MAX_CLASS_VALUES,
    refuse_many,
    refuse_nothing,
    refuse_other_task,
)

USUAL_NAMES = ("target", "label", "class", "y")
MIN_PER_CLASS = 3  # mean examples per whole number for it to be a class [assumed]
POSITIVE = frozenset(
    ("yes", "y", "true", "t", "positive", "pos", "1", "1.0", "ja", "si", "sí", "oui", "是", "真",
     "有", "present", "malignant", "spam", "fraud", "anomaly", "churned")
)  # fmt: skip
_SEPARATORS = "|;,/"

Values = Int64[np.ndarray, " row"] | Float64[np.ndarray, " row"] | Float64[np.ndarray, "row target"]
Words = Sequence[str | None]
Raw = np.ndarray | Words | Sequence[Sequence[str] | None]  # numbers, words, or lists of words


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A target column, read: `values` int64 [num] (classes), 0/1 float64 [num, class_] (several
    labels) or float64 [num(, target)]; rows that are not `known` hold nothing to learn from."""

    task: Task
    values: Values
    known: Bool[np.ndarray, " row"]
    separator: str = ""
    notices: tuple[Notice, ...] = ()

    @property
    def labels(self) -> Int64[np.ndarray, " row"] | None:
        """What to stratify by."""
        return self.values if self.task.kind in ("binary", "multiclass") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCoding:
    """Target values as tensors and back: y = (value - mean) / spread for regression."""

    task: Task
    mean: tuple[float, ...] = (0.0,)
    spread: tuple[float, ...] = (1.0,)
    separator: str = ""

    def encode(self, values: Values) -> Targets:
        match self.task.kind:
            case "binary" | "multiclass":
                return torch.from_numpy(values.astype(np.int64, copy=False))
            case "multilabel":
                return torch.from_numpy(values.astype(np.float32))
            case "regression":
                scaled = (values - self._shaped(self.mean)) / self._shaped(self.spread)
                return torch.from_numpy(scaled.astype(np.float32))

    def decode(self, values: batch.Values) -> batch.Values:
        """Predictions in the user's unit."""
        if self.task.kind != "regression":
            return values
        return np.asarray(values, np.float64) * self._shaped(self.spread) + self._shaped(self.mean)

    def read(self, raw: Raw) -> Target:
        """New data's target in this coding; values never seen in training are not known."""
        return read_target(raw, self.task.kind, self.task.target, known_task=self)

    def empty(self, num: int) -> Int64[Tensor, " {num}"] | Float32[Tensor, "{num} ..."]:
        """Zeros for examples without a target."""
        task = self.task
        match task.kind:
            case "binary" | "multiclass":
                return torch.zeros(num, dtype=torch.int64)
            case "multilabel":
                return torch.zeros(num, len(task.classes))
            case "regression":
                return torch.zeros((num, task.num_targets) if task.num_targets > 1 else (num,))

    def to_record(self) -> dict[str, object]:
        return {
            "kind": self.task.kind, "target": self.task.target, "classes": list(self.task.classes),
            "num_targets": self.task.num_targets, "mean": list(self.mean),
            "spread": list(self.spread), "separator": self.separator,
        }  # fmt: skip

    def _shaped(self, values: tuple[float, ...]) -> np.ndarray | float:
        return values[0] if self.task.num_targets == 1 else np.array(values)


def coding_from_record(record: dict) -> TargetCoding:
    task = Task(
        kind=record["kind"], target=record["target"], classes=tuple(record["classes"]),
        num_targets=record["num_targets"],
    )  # fmt: skip
    return TargetCoding(
        task=task, mean=tuple(record["mean"]), spread=tuple(record["spread"]),
        separator=record["separator"],
    )  # fmt: skip


def fit_coding(
    target: Target, train: Int64[np.ndarray, " _"], *, standardise: bool
) -> TargetCoding:
    """Mean and standard deviation of the training rows, for regression."""
    if target.task.kind != "regression" or not standardise:
        count = target.task.num_targets
        return TargetCoding(
            task=target.task, mean=(0.0,) * count, spread=(1.0,) * count,
            separator=target.separator,
        )  # fmt: skip
    values = target.values[train].reshape(len(train), -1)
    spread = values.std(axis=0)
    return TargetCoding(
        task=target.task,
        mean=tuple(values.mean(axis=0).tolist()),
        spread=tuple(np.where(spread > 0, spread, 1.0).tolist()),
    )


def choose_target(names: Sequence[str], wanted: str | None) -> tuple[list[str], Notice]:
    """The target's column or columns (`a,b,c`), and why.

    Raises DataError when there is no such column, with the nearest name.
    """
    if wanted is None:
        lowered = {name.lower(): name for name in reversed(names)}
        usual = next((lowered[name] for name in USUAL_NAMES if name in lowered), None)
        if usual is not None:
            return [usual], Notice(code="reason.target_usual_name")
        return [names[-1]], Notice(code="reason.target_last")
    if wanted in names:
        return [wanted], Notice(code="reason.target_named")
    parts = [part.strip() for part in wanted.split(",")]
    trimmed = [part for part in parts if part in names]
    missing = [part for part in parts if part not in names]
    if trimmed and not missing:
        return trimmed, Notice(code="reason.target_named")
    raise DataError(
        phrase("there is no column {column} to predict", column=shown(missing[0])),
        allowed=phrase("a column of the table, or several joined by commas"),
        do=did_you_mean(missing[0], [shown(n)[1:-1] for n in names]),
    )


def read_target(
    raw: Raw, wanted: TaskKind | str, name: str, *, known_task: TargetCoding | None = None,
    class_names: Sequence[str] = (),
) -> Target:  # fmt: skip
    """Numbers, words or lists of words as a target.

    `class_names` name whole numbers 0, 1, 2, …. Raises DataError for a target that is empty,
    constant, infinite, or of too many words.
    """
    if isinstance(raw, np.ndarray) and raw.ndim == 2 and raw.shape[1] == 1:
        raw = raw[:, 0]
    if isinstance(raw, np.ndarray) and raw.ndim == 2:
        return _read_matrix(raw, wanted, name, known_task)
    if isinstance(raw, np.ndarray):
        return _read_numbers(raw, wanted, name, known_task, class_names)
    lists = next((value for value in raw if value is not None), None)
    if wanted == "multilabel" or (lists is not None and not isinstance(lists, str)):
        return _read_lists(raw, wanted, name, known_task)
    return _read_words(list(raw), wanted, name, known_task)  # pyright: ignore[reportArgumentType]


def _read_numbers(
    raw: np.ndarray, wanted: str, name: str, coding: TargetCoding | None, names: Sequence[str]
) -> Target:
    values = raw.astype(np.float64)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        rows = ", ".join(str(row + 1) for row in infinite[:5])
        raise DataError(
            phrase(
                "the target {name} is infinite in {num} rows, the first: {rows}",
                name=shown(name),
                num=len(infinite),
                rows=rows,
            ),
            allowed=phrase("finite numbers, or an empty cell where the value is not known"),
            do=phrase("mend or empty these cells"),
        )
    known = ~np.isnan(values)
    if coding is None:
        refuse_nothing(values[known], name)
        kind = _kind_of_numbers(values[known], wanted)
    else:
        kind = coding.task.kind
    if kind == "regression":
        task = Task(kind=kind, target=name)
        return Target(task=task, values=values, known=known, notices=_dropped(known))
    if coding is None and names:
        task = Task(kind="binary" if len(names) == 2 else "multiclass", target=name,
                    classes=tuple(names))  # fmt: skip
        codes = np.where(known, values, 0).astype(np.int64)
        return Target(task=task, values=codes, known=known, notices=_dropped(known))
    present, codes = np.unique(np.where(known, values, values[known][0] if known.any() else 0),
                               return_inverse=True)  # fmt: skip
    words = [number_word(value) for value in present.tolist()]
    if coding is not None:
        return _recoded(words, codes, known, coding)
    refuse_many(len(words), len(values), wanted, name)
    task = Task(kind="binary" if len(words) == 2 else "multiclass", target=name,
                classes=tuple(words))  # fmt: skip
    refuse_other_task(task, wanted, name)
    notices = (*_dropped(known), *_rare(Counter(codes[known].tolist()), words))
    return Target(task=task, values=codes.astype(np.int64), known=known, notices=notices)


def _read_words(
    words: list[str | None], wanted: str, name: str, coding: TargetCoding | None
) -> Target:
    known = np.array([word is not None for word in words], dtype=bool)
    counts = Counter(word for word in words if word is not None)
    if coding is None and wanted == "regression":
        sample = next(iter(counts), "")
        raise DataError(
            phrase(
                "the target {name} holds words such as {sample}, not numbers",
                name=shown(name),
                sample=shown(sample),
            ),
            allowed=phrase("numbers, for regression"),
            do=phrase("set data.task to auto, or mend the cells"),
        )
    present = list(counts) if coding is not None else ordered_classes(list(counts))
    index = {word: code for code, word in enumerate(present)}
    codes = np.array([index.get(word, 0) for word in words], dtype=np.int64)  # pyright: ignore[reportArgumentType,reportCallIssue]
    if coding is not None:
        if coding.task.kind == "regression":
            said = Notice(code="target_unknown", values={"count": len(words)})
            none = np.zeros(len(words), dtype=bool)
            return Target(
                task=coding.task, values=np.zeros(len(words)), known=none, notices=(said,)
            )
        return _recoded(present, codes, known, coding)
    refuse_nothing(codes[known], name)
    refuse_many(len(present), len(words), wanted, name)
    task = Task(kind="binary" if len(present) == 2 else "multiclass", target=name,
                classes=tuple(present))  # fmt: skip
    refuse_other_task(task, wanted, name)
    notices = (*_dropped(known), *_rare(Counter(codes[known].tolist()), present))
    return Target(task=task, values=codes, known=known, notices=notices)


def _read_lists(raw: Raw, wanted: str, name: str, coding: TargetCoding | None) -> Target:
    if wanted not in ("auto", "multilabel"):
        raise DataError(
            phrase("the target {name} holds several labels in a row", name=shown(name)),
            allowed=phrase("task multilabel"),
            do=phrase("set data.task to multilabel or auto"),
        )
    separator = coding.separator if coding else ""
    if not separator:
        text = [row for row in raw if isinstance(row, str)]
        separator = next((s for s in _SEPARATORS if any(s in row for row in text)), "|")
    rows = [
        [part.strip() for part in row.split(separator) if part.strip()]
        if isinstance(row, str) else row for row in raw
    ]  # fmt: skip
    known = np.array([row is not None for row in rows], dtype=bool)
    present = {str(word) for row in rows for word in row or ()}
    classes = coding.task.classes if coding else tuple(sorted(present))
    if coding is None:
        if len(classes) < 2:
            refuse_nothing(np.zeros(len(present)), name)
        refuse_many(len(classes), len(rows), wanted, name)
    index = {word: code for code, word in enumerate(classes)}
    values = np.zeros((len(rows), len(classes)))
    for number, row in enumerate(rows):
        for word in row or ():
            if str(word) in index:
                values[number, index[str(word)]] = 1
    task = coding.task if coding else Task(kind="multilabel", target=name, classes=classes)
    return Target(task=task, values=values, known=known, separator=separator,
                  notices=_dropped(known))  # fmt: skip


def _read_matrix(raw: np.ndarray, wanted: str, name: str, coding: TargetCoding | None) -> Target:
    """Several columns: 0/1 with one 1 in each row are classes, other 0/1 several labels, else
    several numbers. `name` joins the columns' names by commas."""
    values = raw.astype(np.float64)
    known = np.asarray(~np.isnan(values).any(axis=1))
    if np.isinf(values).any():
        _read_numbers(np.where(np.isinf(values).any(axis=1), np.inf, 0.0), wanted, name, None, ())
    parts = name.split(",")
    names = parts if len(parts) == raw.shape[1] else [str(i) for i in range(raw.shape[1])]
    binary = bool(np.isin(values[known], (0.0, 1.0)).all())
    kind = coding.task.kind if coding else wanted
    if kind == "auto":
        one_hot = binary and bool((values[known].sum(axis=1) == 1).all())
        kind = "multiclass" if one_hot else "multilabel" if binary else "regression"
    if coding is None:
        refuse_nothing(values[known].reshape(-1), name)
    notices = _dropped(known)
    if kind == "regression":
        task = Task(kind="regression", target=name, num_targets=raw.shape[1])
        return Target(task=task, values=values, known=known, notices=notices)
    if not binary:
        raise DataError(
            phrase("the columns of {name} hold other numbers than 0 and 1", name=shown(name)),
            allowed=phrase("0 and 1 in each, for several labels"),
            do=phrase("set data.task to regression"),
        )
    task = Task(kind="multilabel", target=name, classes=tuple(n.strip() for n in names))
    if kind == "multilabel":
        return Target(task=coding.task if coding else task, values=values, known=known,
                      notices=notices)  # fmt: skip
    codes = np.where(known, np.nan_to_num(values).argmax(axis=1), 0)
    task = Task(kind="binary" if raw.shape[1] == 2 else "multiclass", target=name,
                classes=task.classes)  # fmt: skip
    said = Notice(code="target_one_hot", values={"count": raw.shape[1]})
    return Target(task=task, values=codes, known=known, notices=(*notices, said))


def number_word(value: float) -> str:
    """3.0 as `3`, 0.5 as `0.5`."""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def _kind_of_numbers(values: np.ndarray, wanted: str) -> TaskKind:
    if wanted in ("binary", "multiclass", "regression"):
        return wanted  # pyright: ignore[reportReturnType]
    if wanted == "multilabel":
        raise DataError(
            phrase("a single column of numbers cannot hold several labels"),
            allowed=phrase("lists, words joined by | ; , or /, or several 0/1 columns"),
            do=phrase("name the 0/1 columns: data.target = 'a,b,c'"),
        )
    if not (values == np.floor(values)).all():
        return "regression"
    distinct = len(np.unique(values))
    enough = distinct == 2 or len(values) >= MIN_PER_CLASS * distinct
    return "multiclass" if distinct <= MAX_CLASS_VALUES and enough else "regression"


def ordered_classes(words: list[str]) -> list[str]:
    """Sorted, numbers by size; of two words the positive one second: class 1 is the event."""
    try:
        words = sorted(words, key=float)
    except ValueError:
        words = sorted(words)
    if len(words) == 2 and words[0].lower() in POSITIVE and words[1].lower() not in POSITIVE:
        words.reverse()
    return words


def _recoded(
    words: list[str], codes: np.ndarray, known: np.ndarray, coding: TargetCoding
) -> Target:
    """Codes of new data as codes of the training data."""
    index = {word: code for code, word in enumerate(coding.task.classes)}
    index |= {word.lower(): code for word, code in index.items() if word.lower() not in index}
    table = np.array([index.get(w, index.get(w.lower(), -1)) for w in words] or [-1])
    found = table[codes]
    unknown = int((known & (found < 0)).sum())
    notices = [Notice(code="target_unknown", values={"count": unknown})] if unknown else []
    known = known & (found >= 0)
    return Target(task=coding.task, values=np.where(known, found, 0).astype(np.int64), known=known,
                  notices=tuple(notices))  # fmt: skip


def _dropped(known: np.ndarray) -> tuple[Notice, ...]:
    lost = int((~known).sum())
    return (Notice(code="target_missing_dropped", values={"count": lost}),) if lost else ()


def _rare(counts: Counter[int], words: Sequence[str]) -> tuple[Notice, ...]:
    single = [words[code] for code, count in counts.items() if count == 1]
    values = {"count": len(single), "classes": single[:5]}
    return (Notice(code="classes_of_one", values=values),) if single else ()
