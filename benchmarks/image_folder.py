"""Does decoding keep up with training? 3,781 photos of clothing as JPEG, from a folder on disk:
images decoded per second, and the share of step time that the loop waits for input.

    python benchmarks/image_folder.py [--data ../shared/data] [--steps 30] [--rounds 3]
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trainwright.data.batch import Batch, Examples, Prepared
from trainwright.data.knobs import DataKnobs
from trainwright.data.media.prepare import prepare_media
from trainwright.data.media.workers import FileExamples

BATCH_SIZE = 64


class Shuffle:
    """A new order in each epoch."""

    seed = 0

    def __init__(self, num: int) -> None:
        self.num = num

    def epoch(self, number: int) -> torch.Tensor:
        return torch.randperm(self.num, generator=torch.Generator().manual_seed(number))


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


def convnet() -> nn.Module:
    """Two stages of 16 and 32 channels: about the cheapest network anyone trains on photos."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
        nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


def images_per_second(examples: Examples) -> float:
    """One pass over the split, with the start of the workers."""
    start = time.perf_counter()
    count = sum(len(batch.target) for batch in examples.batches(BATCH_SIZE))
    return count / (time.perf_counter() - start)


def waits(feed: Iterator[Batch], steps: int) -> tuple[float, float]:
    """Seconds per step: waiting for the batch, and computing with it; the first five are warmup."""
    torch.manual_seed(0)
    network = convnet()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    waited, computed = [], []
    for _ in range(steps + 5):
        begin = time.perf_counter()
        batch = next(feed)
        got = time.perf_counter()
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(*batch.inputs), batch.target).backward()
        optimizer.step()
        waited.append(got - begin)
        computed.append(time.perf_counter() - got)
    return statistics.mean(waited[5:]), statistics.mean(computed[5:])


def from_files(prepared: Prepared, folder: Path, workers: int) -> Prepared:
    """The same folder, too large for memory by decree."""
    knobs = DataKnobs(memory_limit=1 << 16, workers=workers)
    made = prepare_media(str(folder), knobs, seed=0)
    assert isinstance(made.train, FileExamples)
    assert len(made.train) == len(prepared.train)
    return made


def measure(folder: Path, steps: int, rounds: int) -> None:
    start = time.perf_counter()
    held = prepare_media(str(folder), DataKnobs(), seed=0)
    print(f"decoded into memory in {time.perf_counter() - start:.1f} s, once\n")
    kinds = {f"files, {n} worker{'s' * (n != 1)}": from_files(held, folder, n) for n in (0, 1, 2)}
    kinds = {"memory (the default here)": held, **kinds}
    speed: dict[str, list[float]] = {name: [] for name in kinds}
    wait: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for _ in range(rounds):  # interleaved, so that a busy minute falls on all
        for name, prepared in kinds.items():
            speed[name].append(images_per_second(prepared.train))
            feed = prepared.train.feed(Shuffle(len(prepared.train)), BATCH_SIZE)
            wait[name].append(waits(feed, steps))
            prepared.close()
    print("| input | images/s alone | wait ms | step ms | wait share |\n|---|---|---|---|---|")
    for name in kinds:
        waited, computed = (statistics.median(part) for part in zip(*wait[name], strict=True))
        share = waited / (waited + computed)
        print(
            f"| {name} | {statistics.median(speed[name]):,.0f} | {waited * 1e3:.1f} "
            f"| {computed * 1e3:.1f} | {share:.1%} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"# Image folder, {datetime.now(UTC):%Y-%m-%d}\n")
    print(f"`python benchmarks/image_folder.py --steps {asked.steps} --rounds {asked.rounds}`")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch "
        f"{torch.__version__}; one thread trains; load {os.getloadavg()[0]:.1f} at the start; "
        f"convnet 16-32, batch {BATCH_SIZE}, 96x96 colour, crop; medians of {asked.rounds} rounds\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        write_folder(asked.data, Path(folder))
        measure(Path(folder), asked.steps, asked.rounds)


if __name__ == "__main__":
    main()
