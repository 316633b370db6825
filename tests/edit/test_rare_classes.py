"""Rare classes are helped by a loss that looks at what is hard, by log priors in it, and by a start
at them; answers stay what the user's own targets are."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.edit.programs import adam, changed, classes, net, numbers, program, refusal
from trainwright.core.history import History
from trainwright.diagnose.case import Case
from trainwright.diagnose.data import class_imbalance
from trainwright.edit.loop import train
from trainwright.edit.loss import OnLogits
from trainwright.edit.program import Program
from trainwright.recipe import Recipe

NAMES = ["focal_loss", "adjust_logits", "start_bias"]


def rare_classes() -> tuple[Tensor, Tensor]:
    """[example, 6] in three clouds of which the third has a tenth as many examples."""
    X, y = classes(300)
    kept = (y != 2) | (torch.arange(300) % 30 == 2)
    return X[kept], y[kept]


def rare(**more: Any) -> Program:
    return program(**({"data": rare_classes()} | more))


def yes_or_no(*, end: nn.Module | None = None, loss: Any = None) -> Program:
    X, y = rare_classes()
    yes = (y == 2).float()[:, None]
    return program(lambda: net(1, end=end), data=(X, yes), loss=loss or nn.BCEWithLogitsLoss())


def several() -> Program:
    """Two yes or no for each row, of which one is rare."""
    X, y = rare_classes()
    marks = torch.stack([(y == 2) | (X[:, 3] > 2), X[:, 4] > 0], 1).float()
    return program(lambda: net(2), data=(X, marks), loss=nn.BCEWithLogitsLoss())


def one_hot() -> Program:
    X, y = rare_classes()
    return program(data=(X, F.one_hot(y, 3).float()))


def raw(given: Program) -> Tensor:
    """[example, output] what the network gives for some rows."""
    with torch.no_grad():
        return given.start(0)[0].eval()(given.few().inputs[0])


def as_printed(given: Program, after: Program, outputs: Tensor, targets: Tensor) -> float:
    """The loss that the lines to write compute."""
    lines = [line for done in after.done[len(given.done) :] for line in done.lines]
    known: dict[str, Any] = {"torch": torch, "nn": nn, "F": F, "outputs": outputs, "y": targets,
                             "y_train": given.train.targets, "model": given.start(0)[0]}  # fmt: skip
    exec("\n".join(lines), known)
    return float(known["loss"])


# --- all three --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_training_changes_alike_for_the_same_seed_and_judging_does_not(name: str) -> None:
    given = rare()
    after = changed(name, given)
    first, again, plain = (train(each, 3, steps=15) for each in (after, after, given))
    assert np.array_equal(first.losses, again.losses)
    assert not np.array_equal(first.losses, plain.losses)
    assert after.judged is given.judged
    assert after.decode is given.decode
    assert "it is so already" in refusal(name, after).what


@pytest.mark.parametrize("name", NAMES)
def test_the_network_and_the_data_that_were_handed_over_stay_as_they_were(name: str) -> None:
    torch.manual_seed(0)
    model, (X, y) = net(), rare_classes()
    before = copy.deepcopy((model.state_dict(), X, y))
    after = changed(name, program(model, data=(X, y)))
    train(after, 0, steps=5)
    assert all(torch.equal(value, before[0][key]) for key, value in model.state_dict().items())
    assert torch.equal(X, before[1])
    assert torch.equal(y, before[2])


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_told_what_it_has_instead(name: str) -> None:
    assert "recipes have no knob for it" in refusal(name, Recipe()).do


def test_unequal_classes_name_all_of_them() -> None:
    found = class_imbalance(Case(facts=rare().facts, history=History()))
    assert getattr(found, "remedies", ()) == ("weigh_classes", "adjust_logits", "focal_loss",
                                              "start_bias")  # fmt: skip


# --- a loss that looks at what is hard --------------------------------------------------------


def test_a_focal_term_is_that_of_the_paper_for_each_kind_of_target() -> None:
    own = torch.Generator().manual_seed(0)
    logits, y = 3 * torch.randn(5, 3, generator=own), torch.tensor([0, 2, 1, 1, 0])
    right = [math.exp(z[k]) / sum(math.exp(v) for v in z)
             for z, k in zip(logits.tolist(), y.tolist(), strict=True)]  # fmt: skip
    expected = sum(-((1 - p) ** 2) * math.log(p) for p in right) / 5
    assert float(OnLogits("indices", gamma=2.0)(logits, y)) == pytest.approx(expected, rel=1e-5)
    rows = F.one_hot(y, 3).float()
    assert float(OnLogits("one_hot", gamma=2.0)(logits, rows)) == pytest.approx(expected, rel=1e-5)
    yes = [1 / (1 + math.exp(-z)) for z in logits.flatten().tolist()]
    sure = [p if mark else 1 - p for p, mark in zip(yes, rows.flatten().tolist(), strict=True)]
    expected = sum(-((1 - p) ** 2) * math.log(p) for p in sure) / 15
    for kind in ("zero_one", "multi_hot"):
        found = OnLogits(kind, gamma=2.0)(logits, rows)
        assert float(found) == pytest.approx(expected, rel=1e-5)
    assert float(OnLogits("indices", gamma=0.0)(logits, y)) == pytest.approx(
        float(F.cross_entropy(logits, y)))  # fmt: skip


def test_a_sure_answer_has_no_focal_loss_and_a_finite_gradient() -> None:
    logits = torch.tensor([[200.0, 0.0, 0.0], [0.0, 200.0, 0.0]], requires_grad=True)
    loss = OnLogits("indices", gamma=2.0)(logits, torch.tensor([0, 0]))
    assert float(loss.detach()) == pytest.approx(100.0)
    loss.backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
    assert not logits.grad[0].any()


def test_places_that_nobody_asks_for_are_left_out_of_the_mean() -> None:
    logits = torch.tensor([[1.0, 0.0], [9.0, -9.0]])
    both, one = torch.tensor([1, -100]), torch.tensor([1])
    focal = OnLogits("indices", gamma=2.0)
    assert float(focal(logits, both)) == pytest.approx(float(focal(logits[:1], one)))


@pytest.mark.parametrize("make", [rare, yes_or_no, several, one_hot])
def test_the_focal_lines_to_write_compute_the_same_loss(make: Any) -> None:
    given = make()
    after = changed("focal_loss", given)
    outputs, targets = 4 * raw(after), after.few().targets
    found = float(after.loss(outputs, targets))
    assert found == pytest.approx(as_printed(given, after, outputs, targets), rel=1e-4)
    assert found < float(OnLogits(after.loss.kind)(outputs, targets))


def test_a_focal_loss_gets_raw_outputs_and_answers_stay_probabilities() -> None:
    given = yes_or_no(end=nn.Sigmoid(), loss=nn.BCELoss())
    after = changed("focal_loss", given)
    assert [done.name for done in after.done] == ["linear_head", "focal_loss"]
    assert torch.allclose(after.decode(raw(after)), raw(given), atol=1e-6)
    assert torch.equal(after.judged.targets, given.judged.targets)


def test_a_focal_loss_is_for_classes_and_not_beside_a_robust_one() -> None:
    of_numbers = program(lambda: net(1), data=numbers(), loss=nn.MSELoss())
    assert "no classes, and no zeros and ones" in refusal("focal_loss", of_numbers).what
    robust, focal = (changed(name, rare()) for name in ("robust_loss", "focal_loss"))
    assert "a robust one less" in refusal("focal_loss", robust).what
    assert "a robust one less" in refusal("robust_loss", focal).what
    both = changed("adjust_logits", focal).loss
    assert (both.gamma, both.prior is None) == (2.0, False)


# --- log priors in the loss -------------------------------------------------------------------


def test_classes_get_the_logarithms_of_their_shares_in_the_loss_alone() -> None:
    given = rare()
    after = changed("adjust_logits", given)
    counts = [int((given.train.targets == each).sum()) for each in range(3)]
    prior = torch.tensor([math.log(count / sum(counts)) for count in counts])
    outputs, y = raw(after), after.few().targets
    expected = float(F.cross_entropy(outputs + prior, y))
    assert float(after.loss(outputs, y)) == pytest.approx(expected, rel=1e-5)
    assert as_printed(given, after, outputs, y) == pytest.approx(expected, rel=1e-5)
    assert torch.equal(raw(after), raw(given))


@pytest.mark.parametrize("make", [yes_or_no, several])
def test_each_yes_or_no_gets_its_log_odds(make: Any) -> None:
    given = make()
    after = changed("adjust_logits", given)
    share = given.train.targets.mean(0)
    outputs, y = raw(after), after.few().targets
    odds = (share / (1 - share)).log()
    expected = float(F.binary_cross_entropy_with_logits(outputs + odds, y))
    assert float(after.loss(outputs, y)) == pytest.approx(expected, rel=1e-5)
    assert as_printed(given, after, outputs, y) == pytest.approx(expected, rel=1e-5)


def test_one_hot_rows_and_classes_of_places_are_counted_too() -> None:
    given = one_hot()
    after = changed("adjust_logits", given)
    outputs, y = raw(after), after.few().targets
    shares = given.train.targets.mean(0)
    expected = float(F.cross_entropy(outputs + shares.log(), y.argmax(1)))
    assert float(after.loss(outputs, y)) == pytest.approx(expected, rel=1e-5)
    X, y = rare_classes()
    places = program(
        lambda: nn.Conv1d(1, 3, 1), data=(X[:, None], y[:, None].expand(-1, 6).clone())
    )
    after = changed("adjust_logits", places)
    outputs, y = raw(after), after.few().targets
    found = float(after.loss(outputs, y))
    assert "log_prior.reshape(-1, 1)" in after.done[-1].lines[-1]
    assert found == pytest.approx(as_printed(places, after, outputs, y), rel=1e-5)


def test_a_class_without_examples_counts_as_half_of_one() -> None:
    X, y = rare_classes()
    given = program(lambda: net(4), data=(X, y))
    after = changed("adjust_logits", given)
    n = given.train.num_rows
    assert after.loss.prior[3] == pytest.approx(math.log(0.5 / (n + 0.5)))
    outputs, y = raw(after), after.few().targets
    found = float(after.loss(outputs, y))
    assert found == pytest.approx(as_printed(given, after, outputs, y), rel=1e-5)


def test_a_rare_class_is_told_once_its_frequency_is_known() -> None:
    own = torch.Generator().manual_seed(0)
    y = (torch.arange(600) % 20 == 0).long()
    X = torch.randn(600, 6, generator=own) + 1.2 * y[:, None]
    given = program(lambda: net(2), data=(X, y), epochs=4)

    def recall(of: Program) -> float:
        model = train(of, 0).model.eval()
        asked = of.judged.inputs[0][of.judged.targets == 1]
        return float((of.decode(model(asked)).argmax(1) == 1).float().mean())

    assert recall(changed("adjust_logits", given)) > recall(given) + 0.2


def test_frequencies_that_batches_do_not_show_are_not_corrected_for() -> None:
    even = program(data=(classes()[0][:240], torch.arange(240) % 3), valid=classes(30))
    assert "it is so already" in refusal("adjust_logits", even).what
    balanced = changed("weigh_classes", rare())
    for name in ("adjust_logits", "start_bias"):
        assert "equally often already" in refusal(name, balanced).what
    adjusted = changed("adjust_logits", rare())
    for name in ("weigh_classes", "start_bias"):
        assert "corrects for how frequent" in refusal(name, adjusted).what
    of_numbers = program(lambda: net(1), data=numbers(), loss=nn.MSELoss())
    assert "no classes, and no zeros and ones" in refusal("adjust_logits", of_numbers).what


def test_labels_are_encoded_before_their_odds_are_taken() -> None:
    X, y = rare_classes()
    coded = program(lambda: net(1), data=(X, (y == 2).float()[:, None] + 1),
                    loss=nn.BCEWithLogitsLoss())  # fmt: skip
    for name in ("adjust_logits", "start_bias"):
        assert "try encode_labels" in refusal(name, coded).what
        after = changed(name, changed("encode_labels", coded))
        assert torch.equal(after.judged.targets, coded.judged.targets)


# --- a start at them --------------------------------------------------------------------------


def head_of(given: Program, seed: int = 0) -> nn.Linear:
    model = given.start(seed)[0]
    return next(m for m in reversed(list(model.modules())) if isinstance(m, nn.Linear))


ENDS: dict[str, Any] = {
    "logits": lambda: rare(),
    "softmax": lambda: rare(model=lambda: net(end=nn.Softmax(-1)),
                            loss=lambda p, y: F.nll_loss(p.log(), y)),
    "log softmax": lambda: rare(model=lambda: net(end=nn.LogSoftmax(-1)), loss=nn.NLLLoss()),
    "one hot": one_hot,
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_the_last_bias_starts_at_the_log_priors_and_nothing_else_changes(end: str) -> None:
    given = ENDS[end]()
    after = changed("start_bias", given)
    y = given.train.targets if given.train.targets.ndim == 1 else given.train.targets.argmax(1)
    prior = (torch.bincount(y) / len(y)).log()
    for seed in (0, 1):
        head, old = head_of(after, seed), head_of(given, seed)
        assert torch.allclose(head.bias, prior, atol=1e-5)
        assert torch.equal(head.weight, old.weight)
    model = after.start(0)[0]
    nn.init.zeros_(next(m for m in reversed(list(model)) if isinstance(m, nn.Linear)).weight)
    with torch.no_grad():  # what is known without the inputs: the entropy of the classes
        found = float(after.loss(model(given.train.inputs[0]), given.train.targets))
    assert found == pytest.approx(-float((prior.exp() * prior).sum()), rel=1e-4)
    assert after.loss is given.loss


def test_yes_or_no_starts_at_the_log_odds_behind_a_sigmoid_or_without() -> None:
    for given in (yes_or_no(), yes_or_no(end=nn.Sigmoid(), loss=nn.BCELoss()), several()):
        after = changed("start_bias", given)
        share = given.train.targets.mean(0)
        assert torch.allclose(head_of(after).bias, (share / (1 - share)).log(), atol=1e-5)


def test_numbers_start_at_their_mean_and_the_lines_to_write_do_the_same() -> None:
    given = program(lambda: net(1), data=numbers(), loss=nn.MSELoss())
    after = changed("start_bias", given)
    assert torch.allclose(head_of(after).bias, given.train.targets.mean(), rtol=1e-5)
    model = given.start(0)[0]
    exec("\n".join(after.done[-1].lines), {"torch": torch, "model": model,
                                          "y_train": given.train.targets})  # fmt: skip
    assert torch.allclose(model[2].bias, head_of(after).bias)
    was, now = train(given, 0, steps=10).losses[0], train(after, 0, steps=10).losses[0]
    assert now < 2 * float(given.train.targets.var()) < was / 10
    scaled = changed("standardise_target", given)
    assert "it is so already" in refusal("start_bias", scaled).what


def test_a_convolution_that_gives_classes_is_a_last_layer_too() -> None:
    X, y = rare_classes()
    given = program(lambda: nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.ReLU(),
                                          nn.Conv1d(4, 3, 1), nn.AdaptiveAvgPool1d(1),
                                          nn.Flatten()), data=(X[:, None], y))  # fmt: skip
    after = changed("start_bias", given)
    prior = (torch.bincount(given.train.targets) / given.train.num_rows).log()
    assert torch.allclose(after.start(0)[0][2].bias, prior, atol=1e-5)


class Doubled(nn.Module):
    """Gives twice what its last layer does."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.inner(x)


BARE = lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3, bias=False))  # noqa: E731


@pytest.mark.parametrize(
    ("make", "reason"),
    [(BARE, "no bias of its own"), (Doubled, "changes what its bias means"),
     (lambda: net(end=nn.Softmax(-1)), "changes what its bias means"),
     (lambda: nn.LSTM(6, 3), "does not end in one linear layer")],
)  # fmt: skip
def test_a_network_whose_bias_says_something_else_is_left_alone(make: Any, reason: str) -> None:
    class First(nn.Module):
        """The first of what a network gives."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = make()

        def forward(self, x: Tensor) -> Tensor:
            found = self.inner(x)
            return found if isinstance(found, Tensor) else found[0]

    assert reason in refusal("start_bias", rare(model=First)).what


def test_a_bias_behind_which_an_activation_cuts_is_left_alone() -> None:
    cut = program(lambda: net(1, end=nn.Tanh()), data=numbers(), loss=nn.MSELoss(),
                  optimizer=lambda p: adam(p, 1e-3))  # fmt: skip
    assert "changes what its bias means" in refusal("start_bias", cut).what
