"""C02: no gradient comes through a cut, the check names each, and a surrogate trains."""

import pytest
import torch

from trainwright.core.claims import ClaimResult
from trainwright.lecture import objective
from trainwright.lecture.objective import CUTS, WHOLE, Looked, judged, look
from trainwright.report.lecture import reading_words

SOUND = {name: [Looked(reached=0.0, named=name)] * 3 for name in CUTS} | {
    name: [Looked(reached=0.9, named="")] * 3 for name in WHOLE
}
ACCURACY = {"raw": [0.1, 0.08, 0.12], "soft": [0.7, 0.8, 0.75], "hinge": [0.95, 0.94, 0.96],
            "evolution": [0.7, 0.72, 0.69]}  # fmt: skip


@pytest.mark.parametrize("name", CUTS)
def test_a_cut_lets_no_gradient_through_and_is_named(name):
    assert look(CUTS[name], seed=0) == Looked(reached=0.0, named=name)


@pytest.mark.parametrize("name", WHOLE)
def test_a_sound_loss_reaches_the_weights_and_is_not_accused(name):
    seen = look(WHOLE[name], seed=0)
    assert seen.named == ""
    assert seen.reached > 0.5


def test_looking_leaves_the_random_stream_alone():
    before = torch.get_rng_state()
    look(WHOLE["soft"], seed=3)
    assert torch.equal(before, torch.get_rng_state())


def test_the_formulas_are_what_they_say():
    outputs = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
    target = torch.tensor([0, 0, 0])
    assert float(objective.through_argmax(outputs, target)) == pytest.approx(1 / 3)
    share = outputs.softmax(1)[:, 0]
    assert float(objective.soft(outputs, target)) == pytest.approx(float(1 - share.mean()))
    assert float(objective.through_round(outputs, target)) == pytest.approx(1 / 3)


def test_all_parts_together_hold():
    found = judged(SOUND, ACCURACY)
    assert found.verdict == "holds"
    assert found.effect == pytest.approx(0.85)
    assert reading_words(ClaimResult(claim="C02", measured=found, seconds=1.0, device=""))


@pytest.mark.parametrize(
    ("looked", "accuracy", "verdict"),
    [
        ({"argmax": [Looked(reached=0.0, named="sign")] * 3}, {}, "differs"),
        ({"round": [Looked(reached=0.01, named="round")] * 3}, {}, "differs"),
        ({"soft": [Looked(reached=0.9, named="argmax")] * 3}, {}, "differs"),
        ({}, {"soft": [0.1, 0.3, 0.05]}, "undecided"),
        ({}, {"hinge": [0.01, 0.0, 0.03]}, "differs"),
        ({}, {"evolution": [0.1, 0.08, 0.13]}, "undecided"),
    ],
    ids=[
        "misnamed",
        "a gradient gets through",
        "falsely accused",
        "a weak surrogate",
        "a worse one",
        "no evolution",
    ],
)
def test_each_part_can_fail(looked, accuracy, verdict):
    assert judged({**SOUND, **looked}, {**ACCURACY, **accuracy}).verdict == verdict
