"""What do folders, tables and arrays say is to be predicted? Their labels as a target, and the rows
that have one."""

from dataclasses import replace

import numpy as np
from torch import Tensor

from trainwright.core.errors import DataError, shown
from trainwright.core.phrases import phrase
from trainwright.core.task import Task
from trainwright.data.knobs import DataKnobs
from trainwright.data.media.folder import class_order
from trainwright.data.media.gather import Gathered, are_codes, words_of_codes
from trainwright.data.table.target import Target, TargetCoding, read_target


def targets_of(found: Gathered, coding: TargetCoding, *, wanted: bool) -> tuple[Gathered, Tensor]:
    """The rows whose target training knew, and these targets; zeros where none is wanted."""
    if not wanted or found.target is None:
        return found, coding.empty(len(found))
    raw = words_of_codes(found).target
    assert raw is not None
    target = coding.read(raw)
    kept = np.flatnonzero(target.known)
    if not len(kept):
        raise DataError(
            phrase(
                "no example of {source} has a target that training knew", source=shown(found.source)
            ),
            allowed=", ".join(shown(name) for name in coding.task.classes[:20]),
            do=phrase("check the class names"),
        )
    return found.rows(kept, *target.notices), coding.encode(target.values[kept])


def folder_target(found: Gathered, knobs: DataKnobs) -> Target:
    """Class folders; numbers when data.task says regression."""
    assert found.target is not None
    labels = [str(label) for label in found.target]
    name = knobs.target or "class"
    if knobs.task == "regression":
        try:
            return read_target(np.array([float(label) for label in labels]), "regression", name)
        except ValueError:
            raise DataError(
                phrase("the folder {label} is not named by a number", label=shown(labels[0])),
                allowed=phrase("folder names that are numbers, for regression"),
                do=phrase("set data.task to auto"),
            ) from None
    classes = class_order(labels)
    places = {label: index for index, label in enumerate(classes)}
    task = Task(kind="binary" if len(classes) == 2 else "multiclass", target=name, classes=classes)
    values = np.array([places[label] for label in labels], dtype=np.int64)
    return Target(task=task, values=values, known=np.ones(len(values), dtype=bool))


def stored_target(found: Gathered, knobs: DataKnobs) -> Target:
    """The target of an .npz, with its class names when they fit. Raises DataError."""
    if found.target is None:
        raise DataError(
            phrase("{source} holds inputs and no target", source=shown(found.source)),
            allowed=phrase("y (or labels, target) beside X"),
            do=phrase("save it again with np.savez(path, X=..., y=...)"),
        )
    names = found.class_names
    fits = isinstance(found.target, np.ndarray) and found.target.ndim == 1
    names = names if fits and are_codes(found.target, len(names)) else ()
    return read_target(found.target, knobs.task, knobs.target or "y", class_names=names)


def known_rows(found: Gathered, target: Target) -> tuple[Gathered, Target]:
    """Only the rows whose target is known."""
    kept = np.flatnonzero(target.known)
    return found.rows(kept), target_rows(target, kept)


def target_rows(target: Target, kept: np.ndarray) -> Target:
    """Only those rows."""
    return replace(target, values=target.values[kept], known=target.known[kept])


def refuse_one_class(found: Gathered, target: Target) -> None:
    """Raises DataError when the files that could be read are of one class."""
    if target.task.kind in ("binary", "multiclass") and len(np.unique(target.values)) < 2:
        name = target.task.classes[int(target.values[0])]
        raise DataError(
            phrase(
                "only files of one class, {name}, could be read from {source}",
                name=shown(name),
                source=shown(found.source),
            ),
            allowed=phrase("two or more classes"),
            do=phrase("check the files of the other classes"),
        )


def class_counts(task: Task, values: np.ndarray) -> dict[str, int]:
    """Examples by class name; none for regression."""
    if task.kind == "regression":
        return {}
    if task.kind == "multilabel":
        counts = values.sum(axis=0)
    else:
        counts = np.bincount(values, minlength=len(task.classes))
    return {name: int(count) for name, count in zip(task.classes, counts, strict=True)}
