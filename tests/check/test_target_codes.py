"""Two numbers that stand for no and yes are known for what they are where the loss wants 0 and 1,
and nowhere else."""

from typing import Any

import pytest
import torch
from torch import nn

from trainwright.check.gather import gather
from trainwright.check.pairing.codes import zero_one
from trainwright.check.sample import sample_from
from trainwright.check.score import model_score
from trainwright.diagnose.judge import judge

WITH_LOGITS = nn.BCEWithLogitsLoss()
CPU = torch.device("cpu")


def rows(num: int = 240) -> tuple[torch.Tensor, torch.Tensor]:
    """[row, 6] and 0 or 1 by the sign of the first, [row, 1]."""
    X = torch.randn(num, 6, generator=torch.Generator().manual_seed(0))
    return X, (X[:, :1] > 0).float()


def facts(change: Any, loss: Any = WITH_LOGITS, *, end: nn.Module | None = None) -> Any:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1)]
    model = nn.Sequential(*layers, *([end] if end is not None else []))
    X, y = rows()
    return gather(model, (X, change(y)), loss=loss, valid=(X[:60], change(y[:60])))


def own_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A user's own: no probe can know its name."""
    return (nn.functional.softplus(outputs) - targets.float() * outputs).mean()


@pytest.mark.parametrize(
    ("change", "loss", "end", "codes"),
    [
        (lambda y: y + 1, WITH_LOGITS, None, (1.0, 2.0)),
        (lambda y: 2 * y - 1, WITH_LOGITS, None, (-1.0, 1.0)),
        (lambda y: 250 * y + 5, WITH_LOGITS, None, (5.0, 255.0)),
        (lambda y: (y + 1).long(), own_loss, None, (1.0, 2.0)),
        (lambda y: y + 1, nn.BCELoss(), nn.Sigmoid(), (1.0, 2.0)),
        (lambda y: 2 * y - 1, nn.BCELoss(), nn.Sigmoid(), (-1.0, 1.0)),
        (lambda y: y, WITH_LOGITS, None, None),
        (lambda y: 0.8 * y + 0.1, WITH_LOGITS, None, None),  # smoothed by hand
        (lambda y: 2 * y - 1, nn.SoftMarginLoss(), None, None),
        (lambda y: y + 1, nn.SoftMarginLoss(), None, None),  # it wants -1 and 1
        (lambda y: y + 1, nn.MSELoss(), None, None),
        (lambda y: y + 1, nn.L1Loss(), None, None),
        (lambda y: y + 1, nn.PoissonNLLLoss(), None, None),
        (lambda y: y + (rows()[0][: len(y), 1:2] > 0) + 1, WITH_LOGITS, None, None),  # 1, 2 and 3
        (lambda y: torch.ones_like(y) * 2, WITH_LOGITS, None, None),
    ],
)
def test_only_what_the_loss_takes_for_zero_and_one_is_a_code(
    change: Any, loss: Any, end: Any, codes: Any
) -> None:
    known = facts(change, loss, end=end)
    assert known.targets.codes == codes
    if codes is not None:
        named = [f for f in judge(known).findings if f.code == "D106"]
        assert [f.remedies for f in named] == [("encode_labels",)]


def test_a_coded_target_is_of_two_classes_and_scored_as_such() -> None:
    known, plain = facts(lambda y: y + 1), facts(lambda y: y)
    assert (known.targets.kind, known.targets.task) == ("real", "binary")
    assert (known.targets.low, known.targets.high) == (1.0, 2.0)
    assert known.targets.counts == plain.targets.counts
    assert known.targets.valid_counts == plain.targets.valid_counts
    assert known.loss.expects == "logits"
    assert known.loss.falls_when_right_rises is False
    assert known.score == plain.score
    assert known.score.metric == "accuracy"


class First(nn.Module):
    """The first feature: positive where the answer is yes."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one * x[:, :1]


@pytest.mark.parametrize("change", [lambda y: y + 1, lambda y: 2 * y - 1])
def test_an_answer_is_right_on_the_right_side_whatever_the_codes(change: Any) -> None:
    X, y = rows()
    given = gather(First(), (X, change(y)), loss=WITH_LOGITS)
    assert model_score(First(), sample_from((X, change(y)), device=CPU), given) == (1.0, (1.0, 1.0))
    wrong = sample_from((-X, change(y)), device=CPU)
    assert model_score(First(), wrong, given) == (0.0, (0.0, 0.0))


def test_what_is_neither_code_stays() -> None:
    given = torch.tensor([1.0, 2.0, float("nan"), 2.0])
    found = zero_one(given, (1.0, 2.0))
    assert found[[0, 1, 3]].tolist() == [0.0, 1.0, 1.0]
    assert bool(found[2].isnan())
    assert given[0] == 1.0
    assert zero_one(torch.tensor([5, 7]), (5.0, 7.0)).tolist() == [0, 1]
