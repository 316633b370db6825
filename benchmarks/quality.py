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

NAMES = ("trainwright", "linear", "boosted trees", "sklearn MLP", "boosted trees*")
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
    """Test predictions of scikit-learn's learners on the rows and encoding that ours saw; boosted
    trees also with the rows on which ours only chooses its weights."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    X, y = encoded(prepared.train)
    V, v = encoded(prepared.valid)
    T, _ = encoded(prepared.test)
    if prepared.understanding.task.is_classification:
        linear = LogisticRegression(max_iter=2000)
        trees = HistGradientBoostingClassifier(random_state=seed)
        mlp = MLPClassifier(random_state=seed, max_iter=300)
    else:
        linear, trees = Ridge(), HistGradientBoostingRegressor(random_state=seed)
        mlp = MLPRegressor(random_state=seed, max_iter=300)

    def predicted(learner, X, y) -> np.ndarray:
        fitted = learner.fit(X, y)
        return getattr(fitted, "predict_proba", fitted.predict)(T)

    return {
        "linear": predicted(linear, X, y),
        "boosted trees": predicted(trees, X, y),
        "sklearn MLP": predicted(mlp, X, y),
        "boosted trees*": predicted(trees, np.concatenate([X, V]), np.concatenate([y, v])),
    }


def one(row: dict[str, str], seed: int, settings: dict[str, str]) -> dict[str, float]:
    """The table's metric on the test split, by learner (a star: fitted on validation rows too), for
    one seed of split and training."""
    import warnings

    from trainwright import recipe as recipes
    from trainwright.run.assemble import prepare_data

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    path = str(TABLES / f"{row['name']}.csv.gz")
    task_knob = {"data.task": "regression"} if row["kind"] == "reg" else {}
    base = recipes.edit(
        recipes.Recipe(), {"baselines": False, "seed": seed, **task_knob, **settings}
    )
    run = tw.fit(path, target=row["target"], recipe=base, quiet=True, seed=seed)
    recipe = recipes.edit(base, {"data.source": path, "data.target": row["target"]})
    prepared = prepare_data(recipe, one_tensor=True)
    task, metric = prepared.understanding.task, metric_of(row)
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


def ranks(values: dict[str, float], names: tuple[str, ...], sign: int) -> dict[str, float]:
    """1 is best; equal values share the mean of their places."""
    from scipy.stats import rankdata

    places = rankdata([-sign * values[name] for name in names])
    return dict(zip(names, places, strict=True))


def main() -> None:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--set", nargs="*", default=[])
    options = parser.parse_args()
    settings = dict(word.split("=", 1) for word in options.set)
    names = NAMES
    with (TABLES / "INDEX.csv").open() as file:
        rows = [
            r for r in csv.DictReader(file) if options.only is None or r["name"] in options.only
        ]
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        jobs = {
            r["name"]: [pool.submit(one, r, seed, settings) for seed in range(options.seeds)]
            for r in rows
        }
        lines, means = [], []
        for row in rows:
            found = [job.result() for job in jobs[row["name"]]]
            lines.append(line(row, found, names, means))
            print(lines[-1], flush=True)
    text = [
        header("Quality of the default recipe on thirteen tables", "scikit-learn"),
        f"Test split, {options.seeds} seeds of split and training: mean ± sd; one thread each. Others are",
        "scikit-learn's, at its defaults (MLP with max_iter 300), fitted on our training rows; with a star on",
        "training and validation rows together, while ours only chooses its weights on the latter.",
        "Must reach: never worse than the MLP by over 2 sd; mean rank no worse than boosted trees.\n",
        "| table | metric | " + " | ".join(names) + " | seconds | ours - MLP, in sd |",
        "|---|---|" + "---|" * (len(names) + 2),
        *lines,
        "",
    ]  # fmt: skip
    for group in (NAMES[:4], ("trainwright", "linear", "boosted trees*", "sklearn MLP")):
        places = [ranks(values, group, sign) for values, sign in means]
        words = ", ".join(f"{n} {statistics.mean(p[n] for p in places):.2f}" for n in group)
        text.append(f"Mean rank among four: {words}.")
    publish("quality", "\n".join(text), write=options.write)


def line(row: dict[str, str], found: list[dict], names: tuple[str, ...], means: list) -> str:
    """A table's row; its means, with the sign of better, join `means`."""
    metric = metric_of(row)
    sign = -1 if metric in LOWER_IS_BETTER else 1
    mean = {n: statistics.mean(f[n] for f in found) for n in names}
    spread = {n: statistics.stdev([f[n] for f in found]) if len(found) > 1 else 0 for n in names}
    means.append((mean, sign))
    rivals = ("trainwright", "sklearn MLP")
    pooled = statistics.fmean(spread[n] ** 2 for n in rivals) ** 0.5
    gap = sign * (mean["trainwright"] - mean["sklearn MLP"]) / max(1e-12, pooled)
    cells = " | ".join(f"{mean[n]:.4g} ± {spread[n]:.2g}" for n in names)
    seconds = statistics.mean(f["seconds"] for f in found)
    return f"| {row['name']} | {metric} | {cells} | {seconds:.0f} | {gap:+.1f} |"


if __name__ == "__main__":
    main()
