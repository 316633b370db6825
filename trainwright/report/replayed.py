"""How does a step that was taken again read? What it was, its first operation that left the
numbers, the largest ones, and the example behind it."""

import math

from rich.table import Table

from trainwright.core.words import say
from trainwright.report.markup import visible
from trainwright.run.replay import Again
from trainwright.watch.replay import Operation


def replayed_table(again: Again) -> Table:
    """Two columns: what, and its answer."""
    seen = again.replayed
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    grid.add_row(say("replay.step"), str(again.step))
    grid.add_row(say("replay.loss"), f"{seen.loss:.6g}")
    grid.add_row(say("replay.gradient_norm"), f"{seen.gradient_norm:.6g}")
    culprit = say("replay.all_finite") if seen.culprit is None else _words(seen.culprit)
    grid.add_row(say("replay.culprit"), culprit)
    for name, operation in (("largest", seen.largest), ("largest_gradient", seen.largest_gradient)):
        if operation is not None:
            grid.add_row(say(f"replay.{name}"), _words(operation))
    if seen.example_loss is not None:
        share = seen.example_share
        known = share is not None and math.isfinite(share)
        grid.add_row(
            say("replay.example"),
            say("replay.example_row", row=again.row, loss=f"{seen.example_loss:.6g}",
                share=f"{100 * share:.0f} %" if known and share is not None else "?"),
        )  # fmt: skip
    if seen.error is not None:
        grid.add_row(say("replay.error"), visible(seen.error))
    return grid


def _words(operation: Operation) -> str:
    return say(
        f"replay.{operation.direction}", name=operation.name, layer=operation.layer or "?",
        line=operation.line or "?", low=f"{operation.input_low:.4g}",
        high=f"{operation.input_high:.4g}", out_low=f"{operation.output_low:.4g}",
        out_high=f"{operation.output_high:.4g}", bad=operation.num_bad,
    )  # fmt: skip
