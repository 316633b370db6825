"""trainwright predict, evaluate: use a trained network on new data."""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from trainwright.cli import options
from trainwright.cli.output import (
    console,
    error_console,
    harmless,
    print_json,
    refuse_place,
    write_text,
)
from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.core.words import say, say_notice


def predict(
    run: options.RunName,
    source: options.Source,
    /,
    *,
    out: options.Out = None,
    store: options.Store = "./trainwright.db",
    allow_code: options.AllowCode = False,
    json: options.Json = False,
) -> int:
    write = None if out is None else _writer(out, source)
    predictor = _predictor(run, store, allow_code)
    probabilities, examples = predictor.probabilities(source)
    for notice in examples.notices:
        error_console().print(say_notice(notice), markup=False)
    columns = _columns(predictor, probabilities)
    if out is not None and write is not None:
        with refuse_place(out):
            Path(out).parent.mkdir(parents=True, exist_ok=True)
            with open(out, "wb") as file:
                write(columns, file)
    if json:
        print_json({"run": run, "rows": len(examples), "out": out})
    elif out is not None:
        console().print(say("predict.written", rows=len(examples), place=out), markup=False)
    else:
        text = columns.write_csv()
        write_text(harmless(text) if sys.stdout.isatty() else text)
    return 0


def evaluate(
    run: options.RunName,
    source: options.Source,
    /,
    *,
    store: options.Store = "./trainwright.db",
    allow_code: options.AllowCode = False,
    json: options.Json = False,
) -> int:
    from trainwright.report.plain import metrics_object
    from trainwright.report.terminal import metrics_table

    metrics, notices = _predictor(run, store, allow_code).measure(source)
    for notice in notices:
        error_console().print(say_notice(notice), markup=False)
    if json:
        print_json({"run": run, "metrics": metrics_object(metrics)})
    else:
        console().print(metrics_table({Path(source).name: metrics}))
    return 0


def _predictor(run: str, store: str, allow_code: bool):
    from trainwright.run.use import load_predictor
    from trainwright.store.open import open_store

    opened = open_store(store, create=False)
    return load_predictor(opened, opened.run(run), allow_code=allow_code)


def _columns(predictor, probabilities):
    """`prediction`, and `probability_<class>` for classes."""
    import polars

    task = predictor.task
    table = {"prediction": predictor.answers(probabilities)}
    if probabilities.ndim == 2 and not task.is_classification:
        table = {f"prediction_{i}": column for i, column in enumerate(probabilities.T)}
    if task.is_classification:
        table |= {f"probability_{name}": probabilities[:, i] for i, name in enumerate(task.classes)}
    return polars.DataFrame(table)


WRITERS: Mapping[str, Callable[[Any, BinaryIO], None]] = {
    "": lambda table, file: table.write_csv(file),
    ".csv": lambda table, file: table.write_csv(file),
    ".txt": lambda table, file: table.write_csv(file),
    ".tsv": lambda table, file: table.write_csv(file, separator="\t"),
    ".parquet": lambda table, file: table.write_parquet(file),
    ".arrow": lambda table, file: table.write_ipc(file),
    ".feather": lambda table, file: table.write_ipc(file),
    ".jsonl": lambda table, file: table.write_ndjson(file),
    ".ndjson": lambda table, file: table.write_ndjson(file),
}


def _writer(out: str, source: str) -> Callable[[Any, BinaryIO], None]:
    """How a table is written to a file of that name; asked before anything is computed."""
    suffix = Path(out).suffix
    found = WRITERS.get(suffix.lower())
    if found is None:
        raise TrainwrightError(
            phrase("predictions cannot be written as {suffix}", suffix=shown(suffix)),
            allowed=", ".join(suffix for suffix in WRITERS if suffix),
            do=phrase("name another file with {option}", option="--out"),
        )
    with suppress(OSError, ValueError):  # one of them is not there, or is no file
        if os.path.samefile(out, source):
            raise TrainwrightError(
                phrase("{path} is what is read: it would be lost", path=shown(out)),
                allowed=phrase("another file than the source"),
                do=phrase("name another file with {option}", option="--out"),
            )
    return found
