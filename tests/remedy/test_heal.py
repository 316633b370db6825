"""Healing mends what is broken, leaves what is well alone, and keeps what it has when stopped."""

import pytest
import torch
from torch import nn

from tests.edit.programs import adam, classes, net, program
from trainwright.core.errors import TrainwrightError
from trainwright.edit.program import Program
from trainwright.remedy.heal import heal
from trainwright.remedy.search import Step


def test_a_healthy_program_is_left_alone() -> None:
    given = program(epochs=20)
    found = heal(given, budget=60, seeds=3)
    assert found.state == "left alone"
    assert found.target is given
    assert len(found.steps) == 1
    assert found.lines == ()


def test_a_rate_far_too_low_is_raised_and_proven_on_fresh_seeds() -> None:
    given = program(optimizer=lambda parameters: adam(parameters, 1e-6), epochs=10)
    found = heal(given, budget=120, seeds=3)
    assert found.state in ("healthy", "improved")
    assert found.proof is not None
    assert found.proof.effect > 0.2
    assert found.proof.n == 3
    seeds = {outcome.seed for arm in found.proof.arms for outcome in arm.outcomes}
    assert 0 not in seeds, "the proof uses no seed of the search"
    assert found.lines


def test_two_faults_at_once_are_untangled() -> None:
    X, y = classes(scale=1.0)
    given = program(
        lambda: net(3, end=nn.Softmax(dim=1)), data=(X * 300 + 2000, y), epochs=10,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e-4),
    )  # fmt: skip
    found = heal(given, budget=200, seeds=0)
    assert found.steps[0].skill < 0.6
    best = max(step.skill for step in found.steps)
    assert best > 0.8
    assert isinstance(found.target, Program)
    assert len(found.done) >= 2


def test_stopped_in_the_middle_it_gives_what_was_found() -> None:
    def stop(step: Step) -> None:
        if step.judged == "better":
            raise KeyboardInterrupt

    given = program(optimizer=lambda parameters: adam(parameters, 1e-6), epochs=10)
    found = heal(given, budget=120, tell=stop)
    assert found.proof is None
    assert found.notes


@pytest.mark.parametrize("name", ["raise_learning_rate", "swap_optimizer"])
def test_what_is_ruled_out_is_not_tried(name: str) -> None:
    given = program(optimizer=lambda parameters: adam(parameters, 1e-6), epochs=4)
    found = heal(given, budget=20, seeds=0, without=(name,))
    assert name not in {step.remedy for step in found.steps}


def test_luck_on_one_seed_is_not_called_healing() -> None:
    """Labels that have nothing to do with the inputs: whatever seems to help does not again."""
    own = torch.Generator().manual_seed(0)
    X, y = torch.randn(60, 4, generator=own), torch.randint(0, 3, (60,), generator=own)
    given = program(lambda: nn.Linear(4, 3), data=(X, y), epochs=3)
    found = heal(given, budget=40, seeds=3)
    assert found.state in ("stuck", "left alone")
    assert found.target is given


def test_a_remedy_that_nobody_knows_is_refused_before_anything_trains() -> None:
    with pytest.raises(TrainwrightError, match="no remedy"):
        heal(program(), without=("raise_learning_rat",))


def test_a_budget_that_is_over_after_the_first_run_is_said() -> None:
    given = program(optimizer=lambda parameters: adam(parameters, 1e-6), epochs=4)
    found = heal(given, budget=1e-3, seeds=0)
    assert found.state == "stuck"
    assert found.target is given
    assert found.proof is None, "nothing was tried: nothing is to be proven"
    assert "no time was left for a remedy" in found.notes[0]


def test_what_was_kept_is_told_by_its_step() -> None:
    given = program(optimizer=lambda parameters: adam(parameters, 1e-6), epochs=10)
    found = heal(given, budget=60, seeds=0)
    kept = found.steps[found.kept]
    assert kept.number == found.kept
    assert kept.skill == max(step.skill for step in found.steps) or kept.left_out


def test_class_numbers_that_break_the_loop_are_mended_from_what_is_known_before_it() -> None:
    X, y = classes()
    found = heal(program(data=(X, y + 1), epochs=10), budget=60, seeds=3)
    assert found.steps[0].score is None
    assert "encode_labels" in {done.name for done in found.done}
    assert found.proof is not None
    assert found.proof.verdict in ("cured", "helped")


def test_a_loop_that_breaks_for_no_reason_that_is_known_cannot_be_healed() -> None:
    class Broken(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            if self.training and torch.is_grad_enabled() and len(input) == 7:
                raise RuntimeError("a bug of one's own")
            return super().forward(input)

    given = program(lambda: Broken(6, 3), batch_size=7)
    with pytest.raises(TrainwrightError, match="cannot be trained even once"):
        heal(given)


def test_targets_that_do_not_vary_end_the_search_without_a_score() -> None:
    X, _ = classes()
    given = program(lambda: nn.Linear(6, 1), data=(X, torch.ones(len(X), 1)), loss=nn.MSELoss(),
                    epochs=2)  # fmt: skip
    found = heal(given, budget=10, seeds=0)
    assert found.state in ("stuck", "left alone", "improved")


def test_rare_classes_are_mended_though_accuracy_hardly_notices() -> None:
    own = torch.Generator().manual_seed(0)
    y = (torch.arange(600) % 33 == 0).long()
    X = torch.randn(600, 6, generator=own) + 1.2 * y[:, None]
    given = program(lambda: net(2), data=(X, y), epochs=4,
                    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.01))  # fmt: skip
    found = heal(given, budget=30, seeds=3)
    assert "D107" in found.steps[0].open
    assert found.metric == "balanced_accuracy"
    assert found.proof is not None
    assert found.proof.metric == "balanced_accuracy"
    assert found.proof.effect > 0.1
    assert {"weigh_classes", "adjust_logits"} & {done.name for done in found.done}
    assert found.proof.open_after < found.proof.open_before
