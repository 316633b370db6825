"""How are figures measured here? Interleaved rounds in one process, ratios within a round, medians
over rounds: these machines are shared, and their speed drifts."""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent


def interleaved(
    contenders: Mapping[str, Callable[[], float]], *, rounds: int
) -> dict[str, list[float]]:
    """Each contender once a round, in turning order; every callable returns its own seconds."""
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turned = names[number % len(names) :] + names[: number % len(names)]
        for name in turned:
            seconds[name].append(contenders[name]())
    return seconds


def ratios(
    seconds: Mapping[str, list[float]], reference: str
) -> dict[str, tuple[float, float, float]]:
    """Median, lowest and highest ratio to `reference`, taken round by round."""
    table = {}
    for name, values in seconds.items():
        each = [a / b for a, b in zip(values, seconds[reference], strict=True)]
        table[name] = (statistics.median(each), min(each), max(each))
    return table


def timed(function: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def header(title: str, *packages: str) -> str:
    """What every result opens with: command, date, machine, versions."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=FOLDER,
        check=False,
    ).stdout.strip()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", *packages))
    command = f"python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".strip()
    return (
        f"# {title}\n\n- command: `{command}`\n- date: {date.today()}, commit {commit or '-'}\n"
        f"- machine: {platform.machine()}, {platform.processor() or 'shared virtual machine'}, "
        f"2 cores, no accelerator\n- versions: Python {platform.python_version()}, {versions}\n"
    )


def arguments(description: str) -> argparse.ArgumentParser:
    """The arguments that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--write", action="store_true", help="write the dated md beside the script")
    return parser


def publish(name: str, text: str, *, write: bool) -> None:
    """Prints the result; with `write`, keeps it as benchmarks/<name>_cpu2_<date>.md."""
    print(text)
    if write:
        (FOLDER / f"{name}_cpu2_{date.today()}.md").write_text(text + "\n", encoding="utf-8")
