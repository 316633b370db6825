"""How does a history look as a table? One row per step, layer and reading."""

import numpy as np
import polars as pl

from trainwright.core.history import History

SCHEMA = {"step": pl.Int64, "layer": pl.String, "reading": pl.String, "value": pl.Float64}


def frame(history: History) -> pl.DataFrame:
    """Columns step, layer (null for readings of the whole step), reading, value; what was not
    measured has no row. `loss` has every step that was told; sampled ones count once."""
    parts = []
    layers = np.array(history.layers, dtype=object)
    for name, values in history.by_layer.items():
        steps = np.repeat(history.steps, len(layers))
        parts.append(_part(steps, np.tile(layers, len(history.steps)), name, values.reshape(-1)))
    for name, values in history.by_step.items():
        if name != "loss":
            parts.append(_part(history.steps, None, name, values))
    sampled = history.by_step.get("loss")
    told = set(history.loss.steps.tolist())
    parts.append(_part(history.loss.steps, None, "loss", history.loss.values))
    if sampled is not None:
        alone = np.array([s not in told for s in history.steps], dtype=bool)
        parts.append(_part(history.steps[alone], None, "loss", sampled[alone]))
    return pl.concat(parts).sort("step", "reading", maintain_order=True)


def _part(
    steps: np.ndarray,
    layers: np.ndarray | None,
    name: str,
    values: np.ndarray,
) -> pl.DataFrame:
    # a loss that is NaN was measured; another reading was not
    kept = ~np.isnan(values) if name != "loss" else np.ones(len(values), bool)
    return pl.DataFrame(
        {
            "step": steps[kept],
            "layer": [None] * int(kept.sum()) if layers is None else layers[kept].tolist(),
            "reading": [name] * int(kept.sum()),
            "value": values[kept],
        },
        schema=SCHEMA,
    )
