"""Does decoding keep up with training? 3,781 photos of clothing as JPEG, from a folder on disk:
images decoded per second, and the share of step time that the loop of a real fit waits for input."""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from harness import arguments, header, publish

import trainwright as tw
from trainwright import recipe as recipes
from trainwright.data.knobs import DataKnobs
from trainwright.data.media.prepare import prepare_media

DATA = ("memory_limit", "workers")


def write_folder(data: Path, folder: Path) -> None:
    """The stored JPEG bytes as folder/SPLIT/CLASS/NUMBER.jpg, unchanged."""
    stored = np.load(data / "clothing10_96px.npz")
    offsets, content = stored["offsets"], stored["jpeg_bytes"]
    names = ("train", "valid", "test")
    for index, (label, split) in enumerate(zip(stored["y"], stored["split"], strict=True)):
        into = folder / names[split] / str(stored["classes"][label])
        into.mkdir(parents=True, exist_ok=True)
        jpeg = content[offsets[index] : offsets[index + 1]].tobytes()
        (into / f"{index}.jpg").write_bytes(jpeg)


def fit(folder: Path, knobs: dict[str, object], steps: int) -> dict[str, float]:
    """A real fit: seconds a step, and the share of them that the loop waited for its batch."""
    settings = {"budget": f"{steps} steps", "baselines": False, **knobs}
    recipe = recipes.edit(
        recipes.Recipe(), {f"data.{k}" if k in DATA else k: v for k, v in settings.items()}
    )
    run = tw.fit(folder, recipe=recipe, quiet=True)
    parts = run.record.seconds_by_part
    loop = parts["train"] + parts["input"]
    return {"step": loop / steps, "share": parts["input"] / loop, "data": parts["data"]}


def decoded_per_second(folder: Path, workers: int) -> float:
    """The ceiling: images decoded and cropped when nothing trains, with the start of the workers."""
    knobs = DataKnobs(memory_limit=1 << 16, workers=workers)
    prepared = prepare_media(str(folder), knobs, seed=0)
    start = time.perf_counter()
    count = sum(len(batch.target) for batch in prepared.train.batches(64))
    prepared.close()
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(__file__).parent.parent.parent / "shared/data"
    )
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    kinds: dict[str, dict[str, object]] = {"memory (the default here)": {}} | {
        f"files, {n} worker{'s' * (n != 1)}": {"memory_limit": 1 << 16, "workers": n}
        for n in (0, 1, 2)
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
    ceiling: dict[str, list[float]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory() as place:
        write_folder(asked.data, Path(place))
        for _ in range(asked.rounds):  # interleaved, so that a busy minute falls on all
            for name, knobs in kinds.items():
                found[name].append(fit(Path(place), knobs, asked.steps))
                if knobs:
                    ceiling[name].append(
                        decoded_per_second(Path(place), int(str(knobs["workers"])))
                    )
    lines = [
        header("A folder of 3,781 photos", "pillow"),
        f"`tw.fit` with the default recipe, {asked.steps} steps, 96x96 colour, one thread trains; medians of",
        f"{asked.rounds} rounds. Files: too large for memory by decree. Must reach: wait share <= 10 % with one worker.\n",
        "| input | images/s when nothing trains | ms a step | wait share of step time | low-high |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for name, rounds in found.items():
        step, share = (statistics.median(r[key] for r in rounds) for key in ("step", "share"))
        speed = f"{statistics.median(ceiling[name]):,.0f}" if ceiling[name] else "-"
        shares = [r["share"] for r in rounds]
        lines.append(
            f"| {name} | {speed} | {1e3 * step:.1f} | {share:.1%} | {min(shares):.1%}-{max(shares):.1%} |"
        )
    publish("image_folder", "\n".join(lines), write=asked.write)


if __name__ == "__main__":
    main()
