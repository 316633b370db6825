"""Which targets are refused? Empty, constant, nearly all different, too few, or of another task."""

import numpy as np

from trainwright.core.errors import DataError, shown
from trainwright.core.phrases import phrase
from trainwright.core.task import Task

MAX_CLASS_VALUES = 20  # whole numbers with more values are regression [assumed]
MAX_CLASSES = 1000  # more words than that are no classes unless the task says so [assumed]


def refuse_nothing(values: np.ndarray, name: str) -> None:
    """Raises DataError for no value, or one value only."""
    if not len(values):
        raise DataError(
            phrase("the target {name} is empty in every row", name=shown(name)),
            allowed=phrase("a value in most rows"),
            do=phrase("name another column with data.target, or check how the table was written"),
        )
    if (values == values[0]).all():
        raise DataError(
            phrase("the target {name} has the same value in every row", name=shown(name)),
            allowed=phrase("at least two different values"),
            do=phrase("name another column with data.target"),
        )


def refuse_many(distinct: int, num: int, wanted: str, name: str) -> None:
    """Raises DataError for words that are nearly all different, or too many to be classes."""
    mostly = distinct > MAX_CLASS_VALUES and distinct > num / 2
    if wanted not in ("multiclass", "multilabel") and (distinct > MAX_CLASSES or mostly):
        raise DataError(
            phrase(
                "the target {name} has {distinct} different values in {num} rows: it looks "
                "like an identifier or a text",
                name=shown(name),
                distinct=distinct,
                num=num,
            ),
            allowed=phrase(
                "numbers, or at most {most} classes with some examples each", most=MAX_CLASSES
            ),
            do=phrase(
                "name another column with data.target; if these are classes, set data.task "
                "to multiclass"
            ),
        )


def refuse_other_task(task: Task, wanted: str, name: str) -> None:
    """Raises DataError when two classes were asked for and there are more."""
    if wanted == "binary" and task.kind != "binary":
        raise DataError(
            phrase(
                "the target {name} has {num_classes} classes, not 2",
                name=shown(name),
                num_classes=len(task.classes),
            ),
            allowed=phrase("2 classes, for the task binary"),
            do=phrase("set data.task to multiclass or auto"),
        )


def unequal_lengths(num_inputs: int, num_targets: int) -> DataError:
    """The error for a target of another length than the inputs."""
    return DataError(
        phrase(
            "there are {inputs} inputs and {targets} targets",
            inputs=num_inputs,
            targets=num_targets,
        ),
        allowed=phrase("one target for each input"),
        do=phrase("pass X and y of the same length"),
    )
