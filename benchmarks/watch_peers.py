"""What do others cost on the same step? wandb.watch, TensorBoard histograms, gradsnitch and
torchmortem, each used as its own documentation shows."""

import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn
from watch_loops import NETS, Accompany, Companion, Rounds, alone, middle, spread, watched

EVERY = 100  # steps between two histograms, and between two losses logged


def wandb_watch(folder: Path) -> Accompany:
    """Source: https://docs.wandb.ai/ref/python/watch; losses logged as in W&B's PyTorch example."""
    import wandb  # pyright: ignore[reportMissingImports]

    def accompany(model: nn.Module, optimizer: torch.optim.Optimizer, loss: object) -> Companion:
        settings = wandb.Settings(silent=True, console="off", disable_git=True)
        run = wandb.init(project="cost", mode="offline", dir=str(folder), settings=settings)
        run.watch(model, log="all", log_freq=EVERY)

        def after_step(step: int, value: torch.Tensor) -> None:
            if step % EVERY == 0:
                run.log({"loss": value.item()})

        return Companion(after_step=after_step, close=run.finish)

    return accompany


def tensorboard_histograms(folder: Path) -> Accompany:
    """Histograms of all parameters and gradients, and the loss, every 100 steps."""
    from torch.utils.tensorboard import SummaryWriter

    def accompany(model: nn.Module, optimizer: torch.optim.Optimizer, loss: object) -> Companion:
        writer = SummaryWriter(tempfile.mkdtemp(dir=folder))

        def after_backward(step: int, value: torch.Tensor) -> None:
            if step % EVERY:
                return
            writer.add_scalar("loss", value.item(), step)
            for name, parameter in model.named_parameters():
                writer.add_histogram(name, parameter, step)
                writer.add_histogram(name + "/gradient", parameter.grad, step)

        return Companion(after_backward=after_backward, close=writer.close)

    return accompany


def gradsnitch(folder: Path) -> Accompany:
    """Source: its README, "Raw PyTorch loop"."""
    import gradsnitch as package  # pyright: ignore[reportMissingImports]

    def accompany(model: nn.Module, optimizer: torch.optim.Optimizer, loss: object) -> Companion:
        monitor = package.watch(model, optimizer, check_every=50)

        def after_backward(step: int, value: torch.Tensor) -> None:
            monitor.log(step, value.item())

        return Companion(after_backward=after_backward)

    return accompany


def torchmortem(folder: Path) -> Accompany:
    """Source: its README, "Quick Start", with the sampling that is its default."""
    import torchmortem as package  # pyright: ignore[reportMissingImports]

    def accompany(model: nn.Module, optimizer: torch.optim.Optimizer, loss: object) -> Companion:
        autopsy = package.Autopsy(model, optimizer=optimizer)
        autopsy.attach()

        def after_step(step: int, value: torch.Tensor) -> None:
            autopsy.step(loss=value.item())

        return Companion(after_step=after_step, close=autopsy.detach)

    return accompany


PEERS: dict[str, tuple[str, Callable[[Path], Accompany]]] = {
    'wandb.watch(log="all", log_freq=100), offline': ("wandb", wandb_watch),
    "TensorBoard histograms every 100 steps": ("tensorboard", tensorboard_histograms),
    "gradsnitch, check_every=50": ("gradsnitch", gradsnitch),
    "torchmortem, default sampling": ("torchmortem", torchmortem),
}


def peers_table(rounds: Rounds, *, threads: Sequence[int], length: int, n: int,
                folder: str | None) -> str:  # fmt: skip
    """Ours, a control and each peer against the bare loop, in pairs."""
    if folder is not None:
        sys.path.append(str(Path(folder).resolve()))
    lines = ["| net | threads | beside the loop | n | accompanied/bare wall | CPU | us/step more |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    with tempfile.TemporaryDirectory() as place, quiet(Path(place)):
        contenders, absent = _contenders(Path(place))
        for count in threads:
            torch.set_num_threads(count)
            for net in NETS:
                for name, accompany in contenders.items():
                    rounds.of(net, f"warm {name}", accompany, length=2 * EVERY, n=1)
                    found = rounds.of(net, name, accompany, length=length, n=n)
                    more = middle(found, "step_us") * (middle(found, "raw") - 1)
                    lines.append(f"| {net} | {count} | {name} | {n} | {spread(found, 'raw')} | {middle(found, 'cpu'):.3f} | {more:.0f} |")  # fmt: skip
                    print(lines[-1], file=sys.stderr, flush=True)
    lines += [f"| all | | {name} | 0 | absent: {why} | | |" for name, why in absent.items()]
    return "\n".join(lines)


def _contenders(place: Path) -> tuple[dict[str, Accompany], dict[str, str]]:
    found: dict[str, Accompany] = {
        "nothing (control)": alone,
        "**trainwright, budget 2 %**": watched(0.02),
    }
    absent: dict[str, str] = {}
    for name, (package, make) in PEERS.items():
        try:
            accompany = make(place)
            found[f"{name} ({version(package)})"] = accompany
        except Exception as error:
            absent[name] = f"{type(error).__name__}: {error}".splitlines()[0][:120]
    return found, absent


@contextlib.contextmanager
def quiet(place: Path):
    """Offline, in a temporary folder, and without words on standard output."""
    os.environ |= {
        "WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false",
        "WANDB_DIR": str(place), "WANDB_CACHE_DIR": str(place), "WANDB_CONFIG_DIR": str(place),
        "WANDB_DATA_DIR": str(place),
    }  # fmt: skip
    warnings.filterwarnings("ignore", message="Full backward hook is firing")  # torchmortem's
    logging.getLogger("torchmortem").setLevel(logging.ERROR)
    before = Path.cwd()
    os.chdir(place)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.chdir(before)
