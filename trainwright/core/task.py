"""What is to be predicted, and what goes with what? The task, and the one table that pairs head,
loss and metric with it."""

from dataclasses import dataclass
from typing import Literal

TaskKind = Literal["binary", "multiclass", "multilabel", "regression"]
Head = Literal["logit", "logits", "margin", "value", "log_rate", "quantile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the target is. `classes` are the user's own names in order of index.

    binary: class 1 of `classes` is the one whose probability a single logit gives.
    multilabel: one 0/1 target per name in `classes`. regression: `classes` is empty,
    `num_targets` values per example.
    """

    kind: TaskKind
    target: str = "target"
    classes: tuple[str, ...] = ()
    num_targets: int = 1

    @property
    def is_classification(self) -> bool:
        return self.kind != "regression"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """A loss that fits a task: the head it wants and how many outputs that head has."""

    loss: str
    head: Head
    outputs: Literal["one", "classes", "targets"]

    def num_outputs(self, task: Task) -> int:
        match self.outputs:
            case "one":
                return 1
            case "classes":
                return len(task.classes)
            case "targets":
                return task.num_targets


# The first pairing of a task is its default. Sources: Goodfellow et al. 2016, ch. 6.2.2
# (units and losses by output distribution); Crammer & Singer 2001 (multi-class hinge). zero_one
# has no gradient: only an algorithm that asks for none can train on it.
PAIRINGS: dict[TaskKind, tuple[Pairing, ...]] = {
    "binary": (
        Pairing(loss="binary_cross_entropy", head="logit", outputs="one"),
        Pairing(loss="cross_entropy", head="logits", outputs="classes"),
        Pairing(loss="hinge", head="margin", outputs="one"),
        Pairing(loss="zero_one", head="logit", outputs="one"),
    ),
    "multiclass": (
        Pairing(loss="cross_entropy", head="logits", outputs="classes"),
        Pairing(loss="hinge", head="margin", outputs="classes"),
        Pairing(loss="zero_one", head="logits", outputs="classes"),
    ),
    "multilabel": (
        Pairing(loss="binary_cross_entropy", head="logits", outputs="classes"),
        Pairing(loss="zero_one", head="logits", outputs="classes"),
    ),
    "regression": (
        Pairing(loss="squared", head="value", outputs="targets"),
        Pairing(loss="absolute", head="value", outputs="targets"),
        Pairing(loss="huber", head="value", outputs="targets"),
        Pairing(loss="quantile", head="quantile", outputs="targets"),
        Pairing(loss="poisson", head="log_rate", outputs="targets"),
    ),
}

# Every metric of a task; the first is what checkpoints and comparisons look at.
# `average_precision` is of the rarer class [paper: Davis & Goadrich 2006, on imbalance].
METRICS: dict[TaskKind, tuple[str, ...]] = {
    "binary": (
        "accuracy", "balanced_accuracy", "average_precision", "roc_auc", "log_loss", "ece",
        "f1_macro",
    ),
    "multiclass": ("accuracy", "balanced_accuracy", "roc_auc", "log_loss", "ece", "f1_macro"),
    "multilabel": ("f1_macro", "accuracy", "average_precision", "roc_auc", "log_loss"),
    "regression": ("rmse", "mae", "r2"),
}  # fmt: skip
LOWER_IS_BETTER = frozenset({"loss", "log_loss", "ece", "rmse", "mae"})


def pairing(task: TaskKind, loss: str) -> Pairing | None:
    """The row for this task and loss, or None when they do not pair."""
    return next((p for p in PAIRINGS[task] if p.loss == loss), None)
