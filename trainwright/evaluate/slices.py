"""On which rows is the network unlike itself? The values of columns where the metric differs most
from all other rows."""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Bool, Shaped

from trainwright.core.records import Slice
from trainwright.core.stats import deviation_from_influence
from trainwright.core.task import METRICS, Task
from trainwright.evaluate.estimate import Predictions, Targets
from trainwright.evaluate.metrics import estimate_metric

FEWEST_ROWS = 30  # of a slice and of the rest; an interval of fewer says nothing [assumed]
MOST_VALUES = 100  # a column of more texts names its rows rather than groups them [assumed]
MOST_SLICES = 10
NUMBER_KINDS = "iuf"


def find_slices(
    task: Task,
    predictions: Predictions,
    target: Targets,
    columns: Mapping[str, Shaped[np.ndarray, " row"]],
) -> tuple[Slice, ...]:
    """At most MOST_SLICES, by |metric - rest| in standard deviations of that difference, largest
    first. The metric is the task's first. Many are looked at: the largest differ by chance too.

    Texts and booleans are cut by value, numbers of over three values into thirds.
    """
    metric = METRICS[task.kind][0]
    found: list[tuple[float, Slice]] = []
    for name, values in columns.items():
        for value, inside in _parts(np.asarray(values)):
            num = np.count_nonzero(inside)
            if num < FEWEST_ROWS or len(target) - num < FEWEST_ROWS:
                continue
            here = estimate_metric(metric, task, predictions[inside], target[inside])
            rest = estimate_metric(metric, task, predictions[~inside], target[~inside])
            spread = np.hypot(
                deviation_from_influence(here.influence), deviation_from_influence(rest.influence)
            )
            if not (np.isfinite(spread) and np.isfinite(here.value - rest.value)):
                continue
            distance = abs(here.value - rest.value) / max(float(spread), 1e-12)
            piece = Slice(
                column=name, value=value, count=int(num), metric=here.metric(), rest=rest.value
            )
            found.append((distance, piece))
    found.sort(key=lambda pair: -pair[0])
    return tuple(piece for distance, piece in found[:MOST_SLICES] if distance > 0)


def _parts(
    values: Shaped[np.ndarray, " row"],
) -> Iterator[tuple[str, Bool[np.ndarray, " row"]]]:
    """Words for each part, and its rows of a column; missing numbers are in no part."""
    if values.dtype.kind in NUMBER_KINDS:
        known = values[np.isfinite(values)]
        if len(np.unique(known)) > 3:
            low, high = np.quantile(known, [1 / 3, 2 / 3])
            yield f"<= {low:.4g}", values <= low
            yield f"{low:.4g} … {high:.4g}", (values > low) & (values <= high)
            yield f"> {high:.4g}", values > high
            return
    texts = values.astype(str)
    distinct = np.unique(texts)
    if 1 < len(distinct) <= MOST_VALUES:
        for text in distinct:
            yield str(text), texts == text
