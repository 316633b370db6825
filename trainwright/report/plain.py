"""What does --json say of a run? The record as nested values under names that others rely on."""

from collections.abc import Mapping
from typing import Any

from trainwright.core.records import Metric, RunRecord, to_plain
from trainwright.store.contract import RunRow


def show_object(record: RunRecord) -> dict[str, Any]:
    """A run for machines; `verdict` is its code, `comparison` the numbers behind it."""
    return {
        "id": record.id,
        "state": record.state,
        "created": record.created,
        "recipe": dict(record.recipe),
        "recipe_hash": record.recipe_hash,
        "resolved": dict(record.resolved),
        "portable": record.portable,
        "steps": record.steps,
        "total_steps": record.total_steps,
        "chosen_step": record.chosen_step,
        "seconds": record.seconds,
        "seconds_by_part": dict(record.seconds_by_part),
        "num_parameters": record.num_parameters,
        "num_examples": dict(record.understanding.num_examples) if record.understanding else {},
        "metrics": {split: metrics_object(values) for split, values in record.metrics.items()},
        "baselines": [
            {"name": b.name, "metrics": metrics_object(b.metrics), "seconds": b.seconds}
            for b in record.baselines
        ],
        "verdict": record.verdict.code if record.verdict else None,
        "comparison": to_plain(record.verdict) if record.verdict else None,
        "stopped": to_plain(record.stopped) if record.stopped else None,
        "notices": [to_plain(notice) for notice in record.notices],
        "weights_sha256": record.weights_sha256,
    }


def metrics_object(metrics: Mapping[str, Metric]) -> dict[str, dict[str, float | None]]:
    """{"accuracy": {"value", "low", "high"}, …}"""
    return {
        name: {"value": metric.value, "low": metric.low, "high": metric.high}
        for name, metric in metrics.items()
    }


def row_object(row: RunRow) -> dict[str, Any]:
    """One line of `runs`."""
    return {
        "id": row.id,
        "state": row.state,
        "created": row.created,
        "updated": row.updated,
        "recipe_hash": row.recipe_hash,
        "steps": row.steps,
        "metric": row.metric_name,
        "split": row.metric_split,
        "value": row.metric_value,
    }
