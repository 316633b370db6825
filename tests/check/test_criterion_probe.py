"""A criterion is known by what it does with outputs made by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainwright.check.pairing.criterion import loss_facts
from trainwright.core.facts import HeadFacts

torch.manual_seed(0)
N, C = 64, 5
INDEX = torch.randint(0, C, (N,))
ONE_HOT = F.one_hot(INDEX, C).float()
MULTI = (torch.rand(N, C) > 0.6).float()
BIT = (torch.rand(N, 1) > 0.4).float()
REAL = torch.randn(N, 1) * 3 + 2
CHARS = torch.randint(0, C, (N, 7))


def keras_binary(p, y):
    p = p.clamp(1e-7, 1 - 1e-7)
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


def keras_categorical(p, y):
    q = (p / p.sum(-1, keepdim=True)).clamp(1e-7, 1 - 1e-7)
    return -(y * q.log()).sum(-1).mean()


def focal(o, y):
    each = F.cross_entropy(o, y, reduction="none")
    return ((1 - torch.exp(-each)) ** 2 * each).mean()


def dice(p, y):
    return 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)


def probe(criterion, targets, shape, head=None):
    torch.manual_seed(1)
    outputs = torch.rand(shape)
    return loss_facts(criterion, outputs, outputs, targets, head)


def head(kind, low=-50.0, high=50.0):
    return HeadFacts(kind=kind, num_outputs=C, shape=(C,), low=low, high=high)


CRITERIA = [
    (nn.CrossEntropyLoss(), INDEX, (N, C), "logits", "cross_entropy", "indices", True),
    (nn.CrossEntropyLoss(weight=torch.rand(C), label_smoothing=0.1), INDEX, (N, C),
     "logits", "cross_entropy", "indices", True),
    (nn.CrossEntropyLoss(), ONE_HOT, (N, C), "logits", "cross_entropy", "one_hot", True),
    (nn.CrossEntropyLoss(), CHARS, (N, C, 7), "logits", "cross_entropy", "indices", True),
    (lambda o, y: F.cross_entropy(o.reshape(-1, C), y.reshape(-1)), CHARS, (N, 7, C),
     "logits", "cross_entropy", "indices", True),
    (focal, INDEX, (N, C), "logits", "cross_entropy", "indices", True),
    (lambda o, y: -(o.softmax(1).log() * F.one_hot(y, C)).sum(1).mean(), INDEX, (N, C),
     "logits", "cross_entropy", "indices", True),
    (nn.NLLLoss(), INDEX, (N, C), "log_probabilities", "cross_entropy", "indices", True),
    (lambda p, y: -p.gather(1, y[:, None]).log().mean(), INDEX, (N, C),
     "probabilities", "cross_entropy", "indices", True),
    (keras_categorical, ONE_HOT, (N, C), "probabilities", "cross_entropy", "one_hot", True),
    (keras_categorical, MULTI, (N, C), "probabilities", "cross_entropy", "one_hot", True),
    (nn.BCEWithLogitsLoss(), MULTI, (N, C), "logits", "binary_cross_entropy", "multi_hot", False),
    (nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0)), BIT, (N, 1),
     "logits", "binary_cross_entropy", "zero_one", False),
    (nn.BCELoss(), MULTI, (N, C), "probabilities", "binary_cross_entropy", "multi_hot", False),
    (nn.BCELoss(), ONE_HOT, (N, C), "probabilities", "binary_cross_entropy", "multi_hot", False),
    (keras_binary, BIT, (N, 1), "probabilities", "binary_cross_entropy", "zero_one", False),
    (nn.SoftMarginLoss(), 2 * BIT - 1, (N, 1),
     "logits", "binary_cross_entropy", "plus_minus_one", False),
    (lambda o, y: F.relu(1 - y * o).mean(), 2 * BIT - 1, (N, 1),
     "margins", "hinge", "plus_minus_one", False),
    (lambda o, y: F.relu(1 - y * o).mean(), BIT, (N, 1),
     "margins", "hinge", "plus_minus_one", False),
    (lambda o, y: F.relu(1 - (2 * y - 1) * o).mean(), BIT, (N, 1),
     "margins", "hinge", "zero_one", False),
    (nn.MultiMarginLoss(), INDEX, (N, C), "margins", "hinge", "indices", True),
    (nn.MSELoss(), ONE_HOT, (N, C), "values", "squared", "real", False),
    (nn.MSELoss(), REAL, (N, 1), "values", "squared", "real", False),
    (lambda o, y: ((o - y) ** 2).mean() / 2, REAL, (N, 1), "values", "squared", "real", False),
    (nn.L1Loss(), REAL, (N, 1), "values", "absolute", "real", False),
    (nn.L1Loss(), BIT, (N, 1), "values", "absolute", "real", False),
    (nn.HuberLoss(), REAL, (N, 1), "values", "absolute", "real", False),
    (lambda o, y: torch.maximum(0.9 * (y - o), 0.1 * (o - y)).mean(), REAL, (N, 1),
     "values", "absolute", "real", False),
    (dice, BIT, (N, 1), "probabilities", "other", "zero_one", False),
    (lambda o, y: dice(torch.sigmoid(o), y), BIT, (N, 1), "logits", "other", "zero_one", False),
    (nn.CrossEntropyLoss(), REAL.expand(N, 3) + 0, (N, 3), "logits", "cross_entropy", None, True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("criterion", "targets", "shape", "expects", "family", "kind", "exclusive"), CRITERIA
)
def test_each_criterion_is_judged_by_behaviour(
    criterion, targets, shape, expects, family, kind, exclusive
):
    found = probe(criterion, targets, shape)
    assert (found.expects, found.family, found.target_kind) == (expects, family, kind)
    assert found.exclusive is exclusive
    assert found.falls_when_right_rises is True
    assert found.scalar
    assert found.differentiable


@pytest.mark.parametrize("classes", [2, 3, 46, 1000])
def test_any_number_of_classes_is_judged_alike(classes):
    targets = F.one_hot(torch.arange(N) % classes, classes).float()
    found = probe(keras_categorical, targets, (N, classes))
    assert (found.expects, found.family) == ("probabilities", "cross_entropy")


@given(st.integers(2, 12), st.integers(2, 40), st.integers(0, 1000))
def test_prior_is_the_entropy_of_the_classes_and_perfect_is_nothing(classes, rows, seed):
    own = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, classes, (rows,), generator=own)
    found = loss_facts(nn.CrossEntropyLoss(), o := torch.zeros(rows, classes), o, targets)
    shares = torch.bincount(targets, minlength=classes).double() / rows
    entropy = -sum(float(s * s.log()) for s in shares if s > 0)
    assert found.prior == pytest.approx(entropy, abs=2e-3)
    assert found.perfect == pytest.approx(0.0, abs=1e-6)
    assert found.initial == pytest.approx(math.log(classes), abs=1e-5)


def test_priors_of_numbers_are_variance_and_mean_deviation():
    squared, absolute = probe(nn.MSELoss(), REAL, (N, 1)), probe(nn.L1Loss(), REAL, (N, 1))
    assert squared.prior == pytest.approx(float(REAL.double().var(unbiased=False)), rel=1e-6)
    assert absolute.prior == pytest.approx(float((REAL - REAL.median()).abs().mean()), rel=1e-3)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_doubled_batch_tells_the_reduction(reduction):
    found = probe(nn.CrossEntropyLoss(reduction=reduction), INDEX, (N, C))
    assert found.reduction == reduction


def test_one_loss_an_example_is_no_scalar():
    assert not probe(nn.CrossEntropyLoss(reduction="none"), INDEX, (N, C)).scalar


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.L1Loss(), nn.HuberLoss()])
def test_pairs_of_all_rows_are_noticed_and_squeezing_is_not_blamed(loss):
    assert probe(loss, REAL[:, 0], (N, 1)).broadcasts
    assert probe(loss, REAL, (N,)).broadcasts
    assert not probe(loss, REAL, (N, 1)).broadcasts
    assert not probe(lambda o, y: loss(o.squeeze(1), y), REAL[:, 0], (N, 1)).broadcasts
    assert not probe(lambda o, y: loss(o.squeeze(1), y).sqrt(), REAL[:, 0], (N, 1)).broadcasts


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_partly_crossed_image_is_noticed():
    targets = torch.randn(16, 1, 3, 3)
    assert probe(nn.MSELoss(), targets.movedim(1, -1), (16, 1, 3, 3)).broadcasts
    assert not probe(nn.MSELoss(), targets, (16, 1, 3, 3)).broadcasts


@pytest.mark.parametrize(("criterion", "targets", "shape"), [
    (nn.CrossEntropyLoss(), INDEX, (N, C)), (nn.BCEWithLogitsLoss(), BIT, (N, 1)),
    (nn.MSELoss(), REAL, (N, 1)), (keras_binary, BIT, (N, 1)),
])  # fmt: skip
def test_a_wrong_sign_is_noticed_and_the_family_still_known(criterion, targets, shape):
    right = probe(criterion, targets, shape)
    wrong = probe(lambda o, y: -criterion(o, y), targets, shape)
    assert wrong.falls_when_right_rises is False
    assert (wrong.expects, wrong.family) == (right.expects, right.family)


def test_an_argmax_in_the_loss_is_not_differentiable():
    found = probe(lambda o, y: (o.argmax(1) != y).float().mean(), INDEX, (N, C))
    assert not found.differentiable


def test_a_softmax_before_cross_entropy_cannot_reach_zero():
    found = probe(nn.CrossEntropyLoss(), INDEX, (N, C), head("softmax", 0.0, 1.0))
    assert found.reachable == pytest.approx(math.log(math.e + C - 1) - 1, abs=1e-3)
    assert found.perfect == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("non_negative", 0.0, 90.0),
        ("sigmoid", 0.0, 1.0),
        ("tanh", -1.0, 1.0),
        ("bounded", 1.0, 4.0),
    ],
)
def test_reachable_clamps_numbers_to_the_range_of_the_head(kind, low, high):
    found = probe(nn.MSELoss(), REAL, (N, 1), head(kind, low, high))
    top = None if kind == "non_negative" else high
    oracle = float(((REAL.clamp(low, top) - REAL) ** 2).mean())
    assert found.reachable == pytest.approx(oracle, rel=1e-3)


def test_a_constant_head_reaches_nothing_more():
    found = probe(keras_binary, BIT, (N, 1), head("constant", 1.0, 1.0))
    ones = torch.ones(N, 1, dtype=torch.float64)
    assert found.reachable == pytest.approx(float(keras_binary(ones, BIT.double())), rel=1e-3)


@pytest.mark.parametrize(("criterion", "targets", "shape", "kind", "finite"), [
    (lambda p, y: -(y * p.log()).sum(1).mean(), ONE_HOT, (N, C), "softmax", False),
    (keras_categorical, ONE_HOT, (N, C), "softmax", True),
    (nn.BCELoss(), BIT, (N, 1), "sigmoid", True),
    (nn.CrossEntropyLoss(), INDEX, (N, C), "linear", True),
    (nn.BCEWithLogitsLoss(), BIT, (N, 1), "linear", True),
    (lambda o, y: -(o.softmax(1).log() * y).sum(1).mean(), ONE_HOT, (N, C), "linear", False),
    (lambda o, y: -(y * o.log()).sum(1).mean(), ONE_HOT, (N, C), "linear", False),
    (nn.PoissonNLLLoss(), REAL.abs().round(), (N, 1), "linear", True),
    (nn.MSELoss(), REAL, (N, 1), "linear", True),
])  # fmt: skip
def test_logarithms_of_zero_are_found_inside_the_range_of_the_head(
    criterion, targets, shape, kind, finite
):
    ends = (0.0, 1.0) if kind != "linear" else (-50.0, 50.0)
    assert (probe(criterion, targets, shape, head(kind, *ends)).nonfinite_at is None) is finite


def test_what_a_criterion_raises_is_told():
    found = probe(nn.CrossEntropyLoss(), INDEX, (N, 1))
    assert "out of bounds" in (found.error or "")


def test_a_tuple_of_outputs_goes_to_the_criterion_whole():
    outputs, targets = torch.rand(N, C), INDEX
    found = loss_facts(lambda o, y: F.cross_entropy(o[1], y), (3, outputs), outputs, targets)
    assert (found.expects, found.family) == ("logits", "cross_entropy")
    assert found.prior is not None


def test_more_targets_make_the_prior_of_a_small_batch_sound():
    few = torch.zeros(8, C)
    found = loss_facts(nn.CrossEntropyLoss(reduction="sum"), few, few, INDEX[:8], more=INDEX)
    shares = torch.bincount(INDEX, minlength=C).double() / N
    assert found.prior == pytest.approx(-N * float((shares * shares.log()).sum()), rel=1e-3)
    assert found.initial == pytest.approx(N * math.log(C), rel=1e-5)


def test_soft_targets_are_least_at_the_targets_themselves():
    soft = torch.rand(N, C).softmax(1)
    entropy = -float((soft * soft.log()).sum(1).mean())
    assert probe(nn.CrossEntropyLoss(), soft, (N, C)).perfect == pytest.approx(entropy, rel=1e-4)
    divergence = probe(nn.KLDivLoss(reduction="batchmean"), soft, (N, C))
    assert divergence.expects == "log_probabilities"
    assert divergence.perfect == pytest.approx(0.0, abs=1e-6)


def test_losses_between_examples_are_no_cross_entropy():
    def pairs(o, y):
        return ((o[:, None] - o).square().sum(-1) * (y[:, None] == y)).mean()

    found = probe(pairs, INDEX, (N, C))
    assert found.family not in ("cross_entropy", "binary_cross_entropy", "hinge")


def test_class_numbers_against_one_output_are_numbers():
    found = probe(lambda o, y: F.mse_loss(o, y.float()), INDEX[:, None], (N, 1))
    assert (found.expects, found.family, found.target_kind) == ("values", "squared", "real")
    assert found.perfect == 0.0
