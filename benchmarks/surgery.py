"""Which operation of surgery works on which network? Each pair is edited, trained for five steps,
copied, pickled, compiled and undone; prints a table and the wall-clock cost of an edited forward."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from harness import header
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "edit" / "surgery"))
from surgery_patients import PATIENTS, built
from surgery_trial import OPERATIONS, attempt

from trainwright.core.errors import TrainwrightError
from trainwright.edit.surgery.activation import replace_activation
from trainwright.edit.surgery.dry_run import call
from trainwright.edit.surgery.norm import insert_norm
from trainwright.edit.surgery.observe import observe

ROUNDS = 7
CALLS = 60


def cell(name: str, operation: str) -> str:
    """done (with the fall of the loss over five steps), why not, or what failed."""
    try:
        outcome = attempt(name, PATIENTS[name], OPERATIONS[operation], compile=True)
    except TrainwrightError as error:
        return f"no: {error.what}"
    if outcome.wrong:
        return "FAILED: " + ", ".join(outcome.wrong)
    return f"done, {outcome.loss_before:.2f} → {outcome.loss_after:.2f}"


def microseconds(model: nn.Module, batch: object) -> float:
    """Of one forward without gradients."""
    began = time.perf_counter()
    with torch.no_grad():
        for _ in range(CALLS):
            call(model, batch)
    return (time.perf_counter() - began) / CALLS * 1e6


def cost(name: str, edit: Callable[[nn.Module], object] | None, by_hand: str) -> str:
    """Medians of a forward: edited by surgery, and the same change typed by a user."""
    model, batch = built(name).eval(), PATIENTS[name].batches[0]
    typed = built(name).eval()
    exec(by_hand, {"torch": torch, "model": typed})
    assert edit is not None
    edit(model)
    pairs = [(microseconds(model, batch), microseconds(typed, batch)) for _ in range(ROUNDS)]
    one, other = (median(p[i] for p in pairs) for i in (0, 1))
    spread = [a / b for a, b in pairs]
    return (
        f"{one:.0f} | {other:.0f} | {median(spread):.2f} | {min(spread):.2f} to {max(spread):.2f}"
    )


def main() -> None:
    """The tables, as markdown."""
    torch.set_num_threads(1)
    print(header("Surgery on live modules"))
    print(
        "Own copies of BERT and GPT-2 in their structure: `transformers` is not installed here.\n"
    )
    reasons: list[str] = []
    failed = 0
    print(f"| operation | {' | '.join(PATIENTS)} |")
    print(f"|---|{'---|' * len(PATIENTS)}")
    for operation in OPERATIONS:
        row = []
        for name in PATIENTS:
            found = cell(name, operation)
            failed += found.startswith("FAILED")
            if found.startswith("no: "):
                reason = found.removeprefix("no: ").split("'")[-1].strip()
                if reason not in reasons:
                    reasons.append(reason)
                found = f"no ({reasons.index(reason) + 1})"
            row.append(found)
        print(f"| {operation} | {' | '.join(row)} |", flush=True)
    print("\nNot applicable because")
    for number, reason in enumerate(reasons, 1):
        print(f"{number}. {reason}")
    print(f"\n{failed} failed\n")
    print("| edit | µs edited | µs typed by hand | ratio | rounds |\n|---|---|---|---|---|")
    rows: dict[str, tuple[str, Callable[[nn.Module], object], str]] = {
        "norm by hooks, Sequential": (
            "Sequential",
            lambda m: insert_norm(m, observe(m, list(PATIENTS["Sequential"].batches)), "layer"),
            "for i in (0, 1, 3): model[i] = torch.nn.Sequential(model[i], torch.nn.LayerNorm(12))",
        ),
        "ReLU modules to SiLU, U-Net": (
            "U-Net",
            lambda m: replace_activation(
                m, observe(m, list(PATIENTS["U-Net"].batches)), "relu", "silu"
            ),
            "for part in (model.down1, model.down2, model.up1):\n"
            "    part[1] = torch.nn.SiLU(); part[3] = torch.nn.SiLU()",
        ),
        "relu calls to tanh, functional in a loop (typed: as it was)": (
            "functional in a loop",
            lambda m: replace_activation(
                m, observe(m, list(PATIENTS["functional in a loop"].batches)), "relu", "tanh"
            ),
            "",  # a function cannot be changed from outside
        ),
    }
    for title, (name, edit, by_hand) in rows.items():
        print(f"| {title} | {cost(name, edit, by_hand)} |")


if __name__ == "__main__":
    main()
