"""How good is the default recipe? Thirteen tables, three seeds, beside logistic or linear regression,
boosted trees and scikit-learn's MLP on the same rows."""

import csv
import statistics
from pathlib import Path

import numpy as np
import torch
from harness import arguments, header, publish

import trainwright as tw
from trainwright.core.task import LOWER_IS_BETTER
from trainwright.evaluate.metrics import score

TABLES = Path(__file__).parent.parent.parent / "shared/data/tabular"


def metric_of(row: dict[str, str]) -> str:
    """What a table is ranked by: rmse; accuracy; average precision where one of two is rare."""
    if row["kind"] == "reg":
        return "rmse"
    rare = row["classes"] == "2" and float(row["minority"]) < 0.2
    return "average_precision" if rare else "accuracy"


def encoded(examples) -> tuple[np.ndarray, np.ndarray]:
    """[row, feature] and [row], as a user's own single-tensor module would see them."""
    batches = list(examples.batches(65_536))
    X = torch.cat([batch.inputs[0] for batch in batches]).numpy()
    return X, torch.cat([batch.target for batch in batches]).numpy()


def others(prepared, seed: int) -> dict[str, np.ndarray]:
    """Test predictions of scikit-learn's learners on the rows and encoding that ours saw."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    X, y = encoded(prepared.train)
    if prepared.valid is not None:  # others stop early on their own rows: they may have all
        V, v = encoded(prepared.valid)
        X, y = np.concatenate([X, V]), np.concatenate([y, v])
    T, _ = encoded(prepared.test)
    if prepared.understanding.task.is_classification:
        learners = {
            "linear": LogisticRegression(max_iter=2000),
            "boosted trees": HistGradientBoostingClassifier(random_state=seed),
            "sklearn MLP": MLPClassifier(random_state=seed, max_iter=300),
        }
        return {name: m.fit(X, y).predict_proba(T) for name, m in learners.items()}
    learners = {
        "linear": Ridge(),
        "boosted trees": HistGradientBoostingRegressor(random_state=seed),
        "sklearn MLP": MLPRegressor(random_state=seed, max_iter=300),
    }
    return {name: m.fit(X, y).predict(T) for name, m in learners.items()}


def one(row: dict[str, str], seed: int, settings: dict) -> dict[str, float]:
    """The table's metric on the test split, by learner, for one seed of split and training."""
    from trainwright import recipe as recipes
    from trainwright.run.assemble import prepare_data

    path = str(TABLES / f"{row['name']}.csv.gz")
    task_knob = {"data.task": "regression"} if row["kind"] == "reg" else {}
    base = recipes.edit(
        recipes.Recipe(), {"baselines": False, "seed": seed, **task_knob, **settings}
    )
    run = tw.fit(path, target=row["target"], recipe=base, quiet=True, seed=seed)
    recipe = recipes.edit(base, {"data.source": path, "data.target": row["target"]})
    prepared = prepare_data(recipe, one_tensor=True)
    task = prepared.understanding.task
    metric = metric_of(row)
    decode = prepared.encoder.decode
    truth = decode(prepared.test.targets().numpy())
    found = {
        name: score(task, decode(predicted), truth)[metric]
        for name, predicted in others(prepared, seed).items()
    }
    return {
        "trainwright": run.metrics["test"][metric].value,
        **found,
        "seconds": run.record.seconds,
    }


def main() -> None:
    import warnings

    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--set", nargs="*", default=[])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(2)
    settings = dict(word.split("=", 1) for word in options.set)
    names = ("trainwright", "linear", "boosted trees", "sklearn MLP")
    lines = [
        header("Quality of the default recipe on thirteen tables", "scikit-learn"),
        f"Test split, {options.seeds} seeds of split and training: mean ± sd. The others train on our",
        "training and validation rows together; ours trains on the training rows only.\n",
        "| table | metric | " + " | ".join(names) + " | seconds | ours - MLP, in sd |",
        "|---|---|" + "---|" * 6,
    ]  # fmt: skip
    ranks: dict[str, list[float]] = {name: [] for name in names}
    with (TABLES / "INDEX.csv").open() as file:
        rows = [
            r for r in csv.DictReader(file) if options.only is None or r["name"] in options.only
        ]
    for row in rows:
        found = [one(row, seed, settings) for seed in range(options.seeds)]
        metric = metric_of(row)
        sign = -1 if metric in LOWER_IS_BETTER else 1
        mean = {n: statistics.mean(f[n] for f in found) for n in names}
        spread = {
            n: statistics.stdev([f[n] for f in found]) if len(found) > 1 else 0 for n in names
        }
        better = sorted(names, key=lambda n: -sign * mean[n])
        for name in names:
            ranks[name].append(better.index(name) + 1)
        gap = sign * (mean["trainwright"] - mean["sklearn MLP"])
        pooled = (
            max(1e-12, statistics.fmean(spread[n] ** 2 for n in ("trainwright", "sklearn MLP")))
            ** 0.5
        )
        cells = " | ".join(f"{mean[n]:.4g} ± {spread[n]:.2g}" for n in names)
        seconds = statistics.mean(f["seconds"] for f in found)
        lines.append(
            f"| {row['name']} | {metric} | {cells} | {seconds:.0f} | {gap / pooled:+.1f} |"
        )
        print(lines[-1], flush=True)
    lines.append(
        "| mean rank | | "
        + " | ".join(f"{statistics.mean(ranks[n]):.2f}" for n in names)
        + " | | |"
    )
    publish("quality", "\n".join(lines), write=options.write)


if __name__ == "__main__":
    main()
