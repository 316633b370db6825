"""C16 and C17: trained nets do what is said of them, the same without dropout or with another
penalty do not, and each part of each rule can fail."""

from dataclasses import replace

import pytest
import torch
from lecture_words import read
from torch import nn

from trainwright.core.phrases import use_language
from trainwright.core.words import known_codes
from trainwright.data.batch import Batch
from trainwright.lecture import regularisation
from trainwright.lecture.regularisation import (
    JUDGED,
    PENALTIES,
    REMOVED,
    SCORE,
    Pair,
    Robust,
    Weights,
    judged_c16,
    judged_c17,
    penalised,
    removal,
    without_units,
)

# --- trained -------------------------------------------------------------------------------------


def test_dropout_shrinks_the_gap_and_spares_what_removal_costs_on_noisy_rows():
    pair = regularisation.pair_of("diabetes", 200)
    assert pair.without.gap > 0.5
    assert pair.dropout.gap < pair.without.gap - 0.2
    assert pair.dropout.lost < pair.without.lost


def test_without_dropout_in_either_arm_nothing_changes_and_the_claim_does_not_hold():
    """C16 broken on purpose."""
    seeds = [[regularisation.pair_of("diabetes", seed, share=0.0)] for seed in (200, 201)]
    digits = [replace(pairs[0], name="digits") for pairs in seeds]
    for pairs in seeds:
        assert pairs[0].without == pairs[0].dropout
    both = [[pairs[0], other] for pairs, other in zip(seeds, digits, strict=True)]
    assert judged_c16(both).verdict == "differs"


def test_l1_makes_exact_zeros_and_its_gradient_or_l2_do_not():
    nets = {name: penalised(200, own) for name, own in PENALTIES.items()}
    assert nets["l1"].small_zeros > 0.5
    assert nets["l1"].accuracy > 0.9
    assert nets["none"].zeros == nets["l2"].zeros == nets["l1_gradient"].zeros == 0.0
    assert nets["l2"].norm < 0.9 * nets["none"].norm
    # C17 broken on purpose: L1 whose steps do not reach zero
    seeds = [{**nets, "l1": nets["l1_gradient"]}] * 3
    assert judged_c17(seeds).verdict == "differs"


# --- units removed -------------------------------------------------------------------------------


def identity(width: int) -> nn.Sequential:
    """Hands on what it is given, through one hidden layer."""
    net = nn.Sequential()
    net.add_module("activation_1", nn.Identity())
    net.add_module("head", nn.Identity())
    assert width > 0
    return net.eval()


def test_half_of_the_units_are_removed_for_all_rows_alike_and_the_rest_doubled():
    ones = torch.ones(3, 8)
    draw = torch.Generator().manual_seed(0)
    net = identity(8)
    scaled = without_units(net, (ones,), 0.5, draw, scaled=True)
    assert (scaled == 0).sum(dim=1).tolist() == [4, 4, 4]
    assert torch.equal(scaled[0], scaled[2])
    assert scaled.max() == 2.0
    plain = without_units(net, (ones,), 0.25, draw, scaled=False)
    assert (plain == 1).sum(dim=1).tolist() == [6, 6, 6]
    assert torch.equal(net(ones), ones), "the network is as it was"


def test_removing_nothing_costs_nothing_and_removing_all_but_one_costs_all_other_classes():
    rows = Batch(inputs=(torch.eye(10),), target=torch.arange(10), rows=torch.arange(10))
    net = identity(10)
    assert removal(net, rows, "accuracy", 0.0, seed=0, scaled=True) == 1.0
    left = removal(net, rows, "accuracy", 0.9, seed=0, scaled=False)
    assert 0.1 <= left <= 0.2  # the unit kept, and class 0, which ties are given to


def test_r2_is_one_at_best_and_zero_for_the_mean():
    target = torch.tensor([1.0, 2.0, 3.0])
    assert regularisation.score(target[:, None], target, "r2") == pytest.approx(1.0)
    mean = torch.full((3, 1), 2.0)
    assert regularisation.score(mean, target, "r2") == pytest.approx(0.0)


# --- judged --------------------------------------------------------------------------------------


def net(gap: float, lost: float) -> Robust:
    scaled = {part: 0.8 - lost * part / JUDGED for part in REMOVED}
    return Robust(train=0.8 + gap, new=0.8, scaled=scaled, plain=scaled)


def pairs(gap: dict[str, float], lost: dict[str, float]) -> list[list[Pair]]:
    """Five seeds, a little apart: without dropout gap and loss are 0.2, with it as given."""
    return [
        [Pair(name=name, without=net(0.2, 0.2),
              dropout=net(gap[name] + 0.001 * seed, lost[name] + 0.001 * seed)) for name in SCORE]
        for seed in range(5)
    ]  # fmt: skip


GOOD = {"diabetes": 0.1, "digits": 0.1}
BAD = {"diabetes": 0.1, "digits": 0.3}
EQUAL = {"diabetes": 0.1, "digits": 0.198}


@pytest.mark.parametrize(
    ("gap", "lost", "verdict"),
    [(GOOD, GOOD, "holds"), (BAD, GOOD, "differs"), (GOOD, BAD, "differs"),
     (EQUAL, GOOD, "undecided"), (GOOD, EQUAL, "undecided")],
)  # fmt: skip
def test_c16_asks_both_parts_of_both_sets(gap, lost, verdict):
    found = judged_c16(pairs(gap, lost))
    assert found.verdict == verdict
    assert found.n == 5
    assert found.effect == pytest.approx(max(gap.values()) - 0.2 + 0.002)


def weights(*, zeros: float = 0.0, small: float = 0.0, norm: float = 10.0) -> Weights:
    return Weights(zeros=zeros, small_zeros=small, norm=norm, sizes=(0.0,) * 101, accuracy=0.9)


SOUND = {
    "none": weights(),
    "l1": weights(zeros=0.8, small=0.9, norm=6.0),
    "l1_gradient": weights(norm=6.0),
    "l2": weights(norm=7.0),
}


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, "holds"),
        ({"l1": weights(zeros=0.2, small=0.3)}, "differs"),
        ({"none": weights(zeros=0.8)}, "differs"),
        ({"l2": weights(norm=12.0)}, "differs"),
        ({"l2": weights(norm=7.0, zeros=1e-4)}, "differs"),
    ],
    ids=["sound", "few zeros", "zeros without a penalty", "l2 grows", "l2 has zeros"],
)
def test_c17_holds_only_when_l1_makes_zeros_and_l2_shrinks_without(changed, verdict):
    assert judged_c17([{**SOUND, **changed}] * 5).verdict == verdict


def test_c17_is_undecided_where_seeds_disagree():
    shares = (0.1, 0.9, 0.9, 0.2, 0.8)
    seeds = [{**SOUND, "l1": weights(zeros=0.5, small=share)} for share in shares]
    assert judged_c17(seeds).verdict == "undecided"


@pytest.mark.parametrize("spoken", ["en", "zh-Hant"])
def test_they_can_be_read_and_drawn(spoken):
    found = {"C16": judged_c16(pairs(GOOD, GOOD)), "C17": judged_c17([SOUND] * 5)}
    use_language(spoken)
    try:
        assert all(read(code, one) for code, one in found.items())
    finally:
        use_language("en")
    codes = known_codes(spoken)
    for picture in (one for measured in found.values() for one in measured.pictures):
        assert {picture.x, picture.y, *(s.name for s in picture.series)} <= codes
        assert all(len(s.x) == len(s.y) > 1 for s in picture.series)
