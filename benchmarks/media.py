"""How good is the default recipe on images, sound and text? MNIST, Fashion-MNIST, spoken digits,
SMS spam and photos of clothing, each beside the simple learners of the same fit."""

import csv
import gzip
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from harness import arguments, header, publish

import trainwright as tw
from trainwright.report.phrases import baseline_name

DATA = Path(__file__).parent.parent.parent / "shared/data"


def stored(name: str) -> Callable[[Path], Path]:
    """A file as it lies: its test rows are the published ones."""
    return lambda _: DATA / f"{name}.npz"


def spoken_digits(folder: Path) -> Path:
    """3,000 recordings of six speakers, as wav files in class folders."""
    import soundfile

    found = np.load(DATA / "fsdd_8khz.npz")
    audio, offsets, digits = found["audio"], found["offsets"], found["digit"]
    for i, digit in enumerate(digits):
        into = folder / "digits" / str(digit)
        into.mkdir(parents=True, exist_ok=True)
        wave = audio[offsets[i] : offsets[i + 1]]
        soundfile.write(into / f"{i}.wav", wave, int(found["sample_rate"]))
    return folder / "digits"


def messages(folder: Path) -> Path:
    """5,574 SMS, as a CSV with a column of text."""
    place = folder / "sms.csv"
    with (
        gzip.open(DATA / "text/sms_spam.tsv.gz", "rt", encoding="utf-8") as source,
        place.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("label", "text"))
        writer.writerows(line.rstrip("\n").split("\t", 1) for line in source)
    return place


def photos(folder: Path) -> Path:
    """3,781 photos of clothing as JPEG in split/class folders, bytes unchanged."""
    found = np.load(DATA / "clothing10_96px.npz")
    offsets, content = found["offsets"], found["jpeg_bytes"]
    for i, (label, split) in enumerate(zip(found["y"], found["split"], strict=True)):
        into = folder / "clothing" / ("train", "valid", "test")[split] / found["classes"][label]
        into.mkdir(parents=True, exist_ok=True)
        (into / f"{i}.jpg").write_bytes(content[offsets[i] : offsets[i + 1]].tobytes())
    return folder / "clothing"


# name -> (source, target column, accuracy that must be reached or None for "above the baselines",
# share of --seeds)
SETS: dict[str, tuple[Callable[[Path], Path], str | None, float | None, float]] = {
    "clothing": (photos, None, None, 1),
    "MNIST": (stored("mnist"), None, 0.990, 1 / 3),
    "Fashion-MNIST": (stored("fashion_mnist"), None, 0.915, 1 / 3),
    "spoken digits": (spoken_digits, None, None, 1),
    "SMS spam": (messages, "label", None, 1),
}


def one(
    source: Path, target: str | None, seed: int, settings: dict[str, str], threads: int
) -> dict:
    """Test accuracy of the network and of the best simple learner, and the seconds of each."""
    from trainwright import recipe as recipes

    torch.set_num_threads(threads)

    recipe = recipes.edit(recipes.Recipe(), {"seed": seed, "baselines": True, **settings})
    run = tw.fit(source, target=target, recipe=recipe, quiet=True, seed=seed)
    others = {
        b.name: b.metrics["accuracy"].value for b in run.record.baselines if "accuracy" in b.metrics
    }
    best = max(others, key=others.__getitem__)
    parts = run.record.seconds_by_part
    return {
        "accuracy": run.metrics["test"]["accuracy"].value,
        "baseline": others[best],
        "name": baseline_name(best),
        "seconds": run.record.seconds - parts.get("baselines", 0.0),
        "steps": run.record.steps,
        "others": others,
    }


def line(name: str, found: list[dict], goal: float | None) -> str:
    values = [f["accuracy"] for f in found]
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    rival = statistics.mean(f["baseline"] for f in found)
    must = f">= {goal}" if goal else "> best simple learner"
    reached = statistics.mean(values) > (goal or rival)
    return (
        f"| {name} | {len(found)} | {statistics.mean(values):.4f} ± {spread:.4f} "
        f"| {rival:.4f} ({found[0]['name']}) | {must} | {'yes' if reached else 'NO'} "
        f"| {max(f['seconds'] for f in found):.0f} | {found[0]['steps']} |"
    )


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2, help="fits at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of a fit")
    parser.add_argument("--only", nargs="*", default=list(SETS))
    parser.add_argument("--set", nargs="*", default=[])
    options = parser.parse_args()
    settings = dict(word.split("=", 1) for word in options.set)
    lines = [
        header("Images, sound and text: the default recipe", "scikit-learn"),
        f"Test split: mean ± sd of accuracy over seeds; {options.processes} fits at a time, {options.threads} thread each. MNIST",
        "and Fashion-MNIST: the published test rows; clothing: the given split; others: split by the seed.",
        "Seconds: the longest whole fit, data and judgement included, simple learners not; must be <= 300.\n",
        "| data | seeds | accuracy | best simple learner | must reach | reached | seconds | steps |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    with (
        tempfile.TemporaryDirectory() as place,
        ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool,
    ):
        jobs = {}
        for name in options.only:
            write, target, _, share = SETS[name]
            source, seeds = write(Path(place)), range(max(1, round(options.seeds * share)))
            jobs[name] = [
                pool.submit(one, source, target, seed, settings, options.threads) for seed in seeds
            ]
        for name, running in jobs.items():
            found = [job.result() for job in running]
            print(name, found, flush=True)
            lines.append(line(name, found, SETS[name][2]))
            print(lines[-1], flush=True)
    publish("media", "\n".join(lines), write=options.write)


if __name__ == "__main__":
    main()
