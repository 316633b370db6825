"""How is the training algorithm misused? A401-A414: rates, batches, order of calls, schedules."""

import torch
from torch import nn

from clinic.fault import Fault, both, choosing, per_base
from clinic.models import bias_of, weighty
from clinic.plant.data import FOUR, FOUR_SGD, REAL_SGD
from clinic.program import Built


def rescaled_layers(built: Built) -> None:
    """The first layer's outputs shrink by 100 and grow again by 100 behind it: same function, and
    the gradients of the two layers differ by four decades under plain SGD."""
    first, second = weighty(built.model)[:2]
    with torch.no_grad():
        first.weight.div_(300)
        nn.init.zeros_(bias_of(first))
        second.weight.mul_(300)


def uphill(built: Built) -> None:
    """maximize=True left over from another project."""
    for group in built.optimizer.param_groups:
        group["maximize"] = True


FAULTS: tuple[Fault, ...] = (
    Fault(code="A401", kind="sgd", on=(*FOUR_SGD, "friedman_mlp_sgd"), change=choosing(learning_rate=20.0)),
    Fault(code="A401", kind="sgd_moderate", on=("digits_mlp_four", "digits_convnet_four", "digits_functional_four"), change=choosing(learning_rate=2.0)),
    Fault(code="A401", kind="adam", on=(*FOUR, "digits_encoder"), change=choosing(learning_rate=0.3)),
    Fault(code="A402", kind="1e-5", on=(*FOUR, "friedman_mlp"), change=choosing(learning_rate=1e-5)),
    Fault(code="A402", kind="sgd", on=FOUR_SGD, change=choosing(learning_rate=1e-4)),
    Fault(code="A403", kind="few_steps", on=FOUR, change=per_base({"mlp": {"steps": 20}, "functional": {"steps": 20}, "convnet": {"steps": 12}, "gru": {"steps": 20}}), accepted=("A402",)),
    Fault(code="A403", kind="one_epoch", on=("flipped_mlp", "sums_gru", "friedman_functional"), change=choosing(steps=22), accepted=("A402",)),
    Fault(code="A404", kind="one", on=FOUR_SGD, change=choosing(batch_size=1, learning_rate=0.2), accepted=("A401",)),
    Fault(code="A404", kind="two", on=("digits_mlp", "digits_convnet", "digits_functional"), change=choosing(batch_size=2, learning_rate=1e-2), accepted=("A401",)),
    Fault(code="A405", kind="few_updates", on=FOUR_SGD, change=choosing(batch_size=100_000, steps=20), accepted=("A403", "A402")),
    Fault(code="A406", kind="sgd", on=FOUR_SGD, change=choosing(body="never_clear")),
    Fault(code="A406", kind="adam", on=(*FOUR, "digits_encoder"), change=both(choosing(body="never_clear", steps=600))),
    Fault(code="A407", kind="maximize", on=(*FOUR, "friedman_mlp"), plant=uphill, accepted=("L304",)),
    Fault(code="A408", kind="eps_large", on=FOUR, change=choosing(extra=(("eps", 10.0),)), accepted=("A402",)),
    Fault(code="A408", kind="momentum", on=FOUR_SGD, change=choosing(extra=(("momentum", 0.999),)), accepted=("A401",)),
    Fault(code="A408", kind="badly_scaled", on=("digits_mlp_sgd", "digits_convnet_sgd", "digits_functional_sgd"), plant=rescaled_layers, accepted=("M206",)),
    Fault(code="A409", kind="starved", on=(*FOUR_SGD, "digits_encoder"), change=choosing(schedule="starved"), accepted=("A402",)),
    Fault(code="A409", kind="endless_warmup", on=FOUR, change=choosing(schedule="warmup_endless"), accepted=("A402",)),
    Fault(code="A410", kind="tiny", on=FOUR_SGD, change=choosing(body="clip_tiny")),
    Fault(code="A410", kind="tiny_real", on=REAL_SGD, change=choosing(body="clip_tiny")),
    Fault(code="A411", kind="step_first", on=(*FOUR, "digits_encoder"), change=choosing(body="step_first"), accepted=("A414",)),
    Fault(code="A411", kind="clear_late", on=FOUR_SGD, change=choosing(body="clear_late"), accepted=("A414",)),
    Fault(code="A411", kind="schedule_per_step", on=FOUR_SGD, change=choosing(schedule="halve"), accepted=("A409",)),
    Fault(code="A414", kind="never", on=(*FOUR, "friedman_mlp"), change=choosing(body="never_step")),
)  # fmt: skip
