"""trainwright predict, evaluate: use a trained network on new data."""

import sys
from pathlib import Path

from trainwright.cli import options
from trainwright.cli.output import console, error_console, print_json
from trainwright.core.errors import TrainwrightError, shown, system_reason
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
    predictor = _predictor(run, store, allow_code)
    probabilities, examples = predictor.probabilities(source)
    for notice in examples.notices:
        error_console().print(say_notice(notice), markup=False)
    columns = _columns(predictor, probabilities)
    if out is not None:
        _write(columns, Path(out))
    if json:
        print_json({"run": run, "rows": len(examples), "out": out})
    elif out is not None:
        console().print(say("predict.written", rows=len(examples), place=out), markup=False)
    else:
        columns.write_csv(sys.stdout)
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


def _write(columns, place: Path) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        match place.suffix:
            case ".parquet":
                columns.write_parquet(place)
            case ".jsonl" | ".ndjson":
                columns.write_ndjson(place)
            case _:
                columns.write_csv(place)
    except OSError as error:
        raise TrainwrightError(
            phrase(
                "{path} cannot be written: {reason}",
                path=shown(str(place)),
                reason=system_reason(error),
            ),
            allowed=phrase("a folder that can be written"),
            do=phrase("name another file with --out"),
        ) from None
