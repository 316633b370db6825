"""Does this loss fit this task, and how many outputs does it want? Read from the one table in
`core.task`, without torch, so that a recipe can be checked before anything is loaded."""

from trainwright.core.errors import Problem, RecipeError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.core.task import PAIRINGS, Pairing, Task, pairing
from trainwright.loss.knobs import WITHOUT_GRADIENT, LossKnobs


def needs_raw_target(knobs: LossKnobs) -> bool:
    """Whether the target must not be standardised: Poisson counts events from 0."""
    return knobs.name == "poisson"


def paired(knobs: LossKnobs, task: Task) -> Pairing:
    """The row of the table for these knobs.

    Raises RecipeError with every knob that does not fit the task.
    """
    problems = problems_with_task(knobs, task)
    if problems:
        raise RecipeError(problems)
    if knobs.name == "auto":
        return PAIRINGS[task.kind][0]
    found = pairing(task.kind, knobs.name)
    assert found is not None, (knobs.name, task.kind)
    return found


def problems_with_task(knobs: LossKnobs, task: Task) -> list[Problem]:
    """Everything about [loss] that does not fit the task; own code is not judged."""
    problems: list[Problem] = []
    fitting = [p.loss for p in PAIRINGS[task.kind]]
    if knobs.name != "auto" and ":" not in knobs.name and knobs.name not in fitting:
        fitting = [name for name in fitting if name != WITHOUT_GRADIENT]
        problems.append(
            Problem(
                path="loss.name",
                what=phrase("'{loss}' does not fit a {task} task", loss=knobs.name, task=task.kind),
                allowed=", ".join(["auto", *fitting]),
                do=phrase(
                    "write loss.name = '{fitting}', or correct data.task if it is not {task}",
                    fitting=fitting[0],
                    task=task.kind,
                ),
            )
        )
    if not task.is_classification:
        for setting, off in (("label_smoothing", 0.0), ("class_weights", "none")):
            if getattr(knobs, setting) != off:
                problems.append(
                    Problem(
                        path=f"loss.{setting}",
                        what=phrase("the target is a number, it has no classes"),
                        do=phrase("drop loss.{setting}, or correct data.task", setting=setting),
                    )
                )
    elif isinstance(knobs.class_weights, dict):
        problems += [
            Problem(
                path="loss.class_weights",
                what=phrase("there is no class {name}", name=shown(name)),
                allowed=", ".join(shown(c) for c in task.classes[:20]),
                do=did_you_mean(name, task.classes),
            )
            for name in knobs.class_weights
            if name not in task.classes
        ]
    return problems


def class_weights(
    knobs: LossKnobs, task: Task, class_counts: list[int] | None
) -> list[float] | None:
    """One weight per class in order of index, or None where all weigh the same.

    balanced: n / (classes * n_class), so that the mean over training examples is 1; a class that
    training never shows counts as one example. Source: scikit-learn, compute_class_weight.
    """
    if knobs.class_weights == "none" or not task.is_classification:
        return None
    if isinstance(knobs.class_weights, dict):
        return [float(knobs.class_weights.get(name, 1.0)) for name in task.classes]
    if not class_counts:
        raise RecipeError(
            [
                Problem(
                    path="loss.class_weights",
                    what=phrase("balanced needs the number of training examples in each class"),
                    do=phrase("give a table of class name = weight"),
                )
            ]
        )
    total, num = sum(class_counts), len(class_counts)
    return [total / (num * max(count, 1)) for count in class_counts]
