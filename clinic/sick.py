"""Which programs are sick, and of what? Every planted fault on every base that it is tried on, and
those that no base carries."""

import torch
import torch.nn.functional as F
from torch import nn

from clinic import score
from clinic.language import language_program
from clinic.plant import algorithm, data, loss, model
from clinic.program import Built, Program
from clinic.unusual import Siamese, multilabel, pairs

FAULTS = (*data.FAULTS, *model.FAULTS, *loss.FAULTS, *algorithm.FAULTS)


def softmax_multilabel(seed: int) -> Built:
    """Labels that stand alone, and a softmax that lets them compete."""
    built = multilabel(seed)
    built.model = nn.Sequential(*built.model, nn.Softmax(dim=1))  # pyright: ignore
    built.loss, built.score = nn.BCELoss(), score.skill_of_label_probabilities
    return built


def cross_entropy_multilabel(seed: int) -> Built:
    """Cross-entropy over classes against several ones per row."""
    built = multilabel(seed)
    built.loss = nn.CrossEntropyLoss()
    return built


def root_of_zero(seed: int) -> Built:
    """A pair of equal images: the derivative of the root of zero is infinite, times zero NaN."""
    x, y = pairs(seed)
    x[::50, 1], y[::50] = x[::50, 0], 1.0
    network = Siamese(safe=False)
    return Built(
        model=network, loss=F.binary_cross_entropy_with_logits,
        optimizer=torch.optim.Adam(network.parameters(), 3e-3), X=x[:-600], y=y[:-600],
        Xv=x[-600:], yv=y[-600:], batch_size=64, steps=500, score=score.skill_of_logit,
    )  # fmt: skip


ALONE: tuple[Program, ...] = (
    *(language_program(body, causal=False) for body in ("transformer", "convnet", "gru")),
    Program(name="L301_softmax_multilabel/multilabel", family="mlp", make=softmax_multilabel,
            fault="L301", kind="softmax_multilabel", twin="multilabel"),
    Program(name="L301_cross_entropy_multilabel/multilabel", family="mlp",
            make=cross_entropy_multilabel, fault="L301", kind="cross_entropy_multilabel",
            twin="multilabel", accepted=("L303",)),
    Program(name="L305_root_of_zero/siamese", family="siamese", make=root_of_zero, fault="L305",
            kind="root_of_zero", twin="siamese"),
)  # fmt: skip


def sick() -> dict[str, Program]:
    """Every sick program by name."""
    planted = [program for fault in FAULTS for program in fault.programs()]
    return {program.name: program for program in (*planted, *ALONE)}
