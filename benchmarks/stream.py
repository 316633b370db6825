"""Does a table larger than memory train in constant memory, and how fast? 400 MB and 40 MB of Parquet
streamed, beside the same 40 MB held in memory: peak memory and examples per second of a real fit."""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from harness import arguments, header, publish

FEATURES = 25
CHUNK = 100_000  # rows in a row group: 10 MB
CHILD = """
import json, resource, sys
import torch
import trainwright as tw
from trainwright import recipe as recipes
torch.set_num_threads(1)
source, stream, steps = sys.argv[1], sys.argv[2] == "stream", sys.argv[3]
settings = {"data.stream": stream, "data.task": "binary", "baselines": False, "budget": steps + " steps",
            "algorithm.batch_size": 256, "data.valid_fraction": 0.01, "data.test_fraction": 0.01}
run = tw.fit(source, target="y", recipe=recipes.edit(recipes.Recipe(), settings), quiet=True)
parts = run.record.seconds_by_part
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([peak, run.record.examples / (parts["train"] + parts["input"]), parts["data"]]))
"""


def write(path: Path, groups: int) -> None:
    """Random float32, which does not compress: 10 MB a group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    writer = None
    for _ in range(groups):
        X = rng.normal(size=(CHUNK, FEATURES)).astype("float32")
        columns = {f"x{i}": X[:, i] for i in range(FEATURES)}
        table = pa.table(columns | {"y": (X[:, 0] + X[:, 1] > 0).astype("int8")})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def child(source: Path, how: str, steps: int) -> tuple[float, float, float]:
    """Peak MB, examples per second, seconds until training of one process."""
    import json

    words = [sys.executable, "-c", CHILD, str(source), how, str(steps)]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    return tuple(json.loads(found.stdout.splitlines()[-1]))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        small, large = Path(place, "small.parquet"), Path(place, "large.parquet")
        write(small, 4)
        write(large, 40)
        kinds = {
            f"streamed, {large.stat().st_size / 1e6:.0f} MB": (large, "stream"),
            f"streamed, {small.stat().st_size / 1e6:.0f} MB": (small, "stream"),
            f"in memory, {small.stat().st_size / 1e6:.0f} MB": (small, "memory"),
        }
        found = {name: [] for name in kinds}
        for _ in range(options.rounds):
            for name, (source, how) in kinds.items():
                found[name].append(child(source, how, options.steps))
    big, little, held = found.values()
    memory = [a[0] / b[0] for a, b in zip(big, little, strict=True)]
    speed = [a[1] / b[1] for a, b in zip(big, held, strict=True)]
    lines = [
        header("A table larger than memory", "polars", "pyarrow"),
        f"Default recipe, batch 256, {options.steps} steps, one thread, a process each; medians of {options.rounds} rounds.\n",
        "| input | peak MB of the process | examples/s in the loop | s until the first step |", "|---|---|---|---|",
    ]  # fmt: skip
    for name, rounds in found.items():
        peak, rate, data = (statistics.median(r[i] for r in rounds) for i in range(3))
        lines.append(f"| {name} | {peak:,.0f} | {rate:,.0f} | {data:.1f} |")
    lines += [
        "",
        f"Peak memory, 400 MB to 40 MB: {statistics.median(memory):.2f} (low-high {min(memory):.2f}-{max(memory):.2f}); must be <= 1.2.",
        f"Examples per second, streamed 400 MB to in memory: {statistics.median(speed):.2f} (low-high {min(speed):.2f}-{max(speed):.2f}); must be >= 0.8.",
    ]
    publish("stream", "\n".join(lines), write=options.write)


if __name__ == "__main__":
    main()
