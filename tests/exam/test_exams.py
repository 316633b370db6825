"""Each exam says yes of a program that has what it asks for, and no of its healthy twin."""

import copy
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from exam_programs import at_rate, healthy, net, of_network, with_inputs, with_targets_of_others
from torch import nn

from trainwright.core.errors import TrainwrightError
from trainwright.core.words import LANGUAGES, said_in
from trainwright.edit.given import program_from
from trainwright.edit.loop import loss_of
from trainwright.edit.optimizer import OptimizerPlan
from trainwright.exam.algorithm import RANGED
from trainwright.exam.arms import LEAST_GAIN, chance_of, seconds_per_step
from trainwright.exam.catalogue import ALSO, EXAMS, exam
from trainwright.exam.data import _curve_draws
from trainwright.exam.exam import Likelihood, NotHere, Terms

SECONDS = Terms(seconds=20.0)


def answer(name, program):
    return EXAMS[name].ask(program, SECONDS).answer


def badly_started():
    made = net()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(1e-3)
    return made


class HalfTrained(nn.Module):
    """Batch norm whose running statistics never get there."""

    def __init__(self, momentum):
        super().__init__()
        self.first, self.norm = nn.Linear(64, 32), nn.BatchNorm1d(32, momentum=momentum)
        self.last = nn.Linear(32, 10)

    def forward(self, x):
        return self.last(self.norm(self.first(50 * x)).relu())


class Deep(nn.Module):
    """A frozen layer in the middle that lets nearly nothing through."""

    def __init__(self):
        super().__init__()
        self.first, self.block, self.last = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        with torch.no_grad():
            self.block.weight.mul_(1e-4)
            self.block.bias.zero_()
        self.block.requires_grad_(False)

    def forward(self, x):
        return self.last(self.block(self.first(x).relu()).relu())


SICK_AND_TWIN = {
    "shuffled_labels": ("no", with_targets_of_others, "yes", healthy),
    "zeroed_input": ("no", with_targets_of_others, "yes", healthy),
    "standardised_inputs": ("yes", lambda: with_inputs(lambda x: 300 * x + 500), "no", healthy),
    "overfit_one_batch": ("no", lambda: at_rate(1e-4), "yes", healthy),
    "higher_rate": ("yes", lambda: at_rate(1e-2), "no", healthy),
    "lower_rate": ("yes", lambda: at_rate(15), "no", healthy),
    "learning_rate_range": ("no", lambda: at_rate(1e-2), "yes", healthy),
    "adamw_arm": ("yes", lambda: at_rate(1e-3), "no", healthy),
    "prodigy_arm": ("yes", lambda: at_rate(1e-3), "no", healthy),
    "train_on": ("yes", lambda: at_rate(0.03), "no", lambda: healthy().turned(epochs=20)),
    "reinitialised": ("yes", lambda: of_network(badly_started), "no", healthy),
    "dropout_off": ("yes", lambda: of_network(lambda: net(dropout=0.95)), "no",
                    lambda: of_network(lambda: net(dropout=0.01))),
    "ablate_block": ("yes", lambda: of_network(Deep), "no", healthy),
    "eval_mode": ("yes", lambda: of_network(lambda: HalfTrained(1e-4)), "no",
                  lambda: of_network(lambda: HalfTrained(0.3))),
    "double_width": ("yes", lambda: of_network(lambda: net(width=3)), "no", healthy),
    "half_width": ("no", lambda: of_network(lambda: net(width=6)), "no", healthy),
    "repaired_head": ("yes", lambda: of_network(
        lambda: nn.Sequential(net(), nn.Softmax(-1))), "no", healthy),
    "penalty_off": ("yes", lambda: replace(healthy(), optimizer=healthy().optimizer.turned(
        weight_decay=0.5)), "no", lambda: replace(healthy(), optimizer=healthy().optimizer.turned(
            weight_decay=1e-6))),
    "smaller_batch": ("yes", lambda: at_rate(0.1).turned(batch_size=480, epochs=20), "no",
                      healthy),
}  # fmt: skip


@pytest.mark.parametrize("name", SICK_AND_TWIN)
def test_an_exam_tells_a_sick_program_from_its_twin(name):
    said, sick, said_of_twin, twin = SICK_AND_TWIN[name]
    assert answer(name, sick()) == said
    found = answer(name, twin())
    assert found in (said_of_twin, "undecided")
    assert found != said or said == said_of_twin


def test_a_step_uphill_is_told_from_one_downhill():
    right = EXAMS["tiny_step_downhill"].ask(healthy(), SECONDS)
    assert right.answer == "yes"
    assert right.values["fell"] == pytest.approx(1.0, abs=0.1)
    uphill = replace(healthy(), optimizer=healthy().optimizer.turned(maximize=True))
    wrong = EXAMS["tiny_step_downhill"].ask(uphill, SECONDS)
    assert wrong.answer == "no"
    assert wrong.values["fell"] == pytest.approx(1.0, abs=0.1), "the gradient itself is right"
    assert wrong.values["own_fell"] == pytest.approx(-1.0, abs=0.1)
    assert wrong.shifts["A407"] > 2


def test_a_rate_that_is_found_in_training_replaces_one_that_is_too_high():
    high = at_rate(15)
    found = EXAMS["prodigy_arm"].ask(high, SECONDS)
    assert found.answer == "yes"
    assert found.values["own"] == "SGD"
    assert found.values["rate"] == pytest.approx(1.5)
    assert all(found.shifts[code] > 0 for code in ("A401", "A408"))
    warm = EXAMS["prodigy_arm"].ask(high.turned(warmup_steps=10), SECONDS)
    assert warm.answer == "yes"
    assert warm.values["after"] > 0.8


def test_a_rate_that_is_found_in_training_is_about_as_good_as_one_that_was_chosen_well():
    scores = [EXAMS["prodigy_arm"].ask(healthy(), Terms(seconds=20.0, seed=seed)).values
              for seed in (0, 10, 20)]  # fmt: skip
    assert all(found["after"] > found["before"] - 0.1 for found in scores)


def test_prodigy_is_not_tried_against_itself():
    from prodigyopt import Prodigy

    plan = OptimizerPlan(kind=Prodigy, settings={"lr": 1.0})
    with pytest.raises(NotHere, match="Prodigy already"):
        EXAMS["prodigy_arm"].ask(replace(healthy(), optimizer=plan), SECONDS)


def test_exams_are_listed_without_loading_prodigy():
    code = "import sys, trainwright.exam.catalogue; sys.exit('prodigyopt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_training_in_half_precision_is_repaired_in_float32():
    half = of_network(lambda: net().to(torch.bfloat16))
    half = replace(half, **{name: replace(s, inputs=(s.inputs[0].to(torch.bfloat16),))
                            for name, s in (("train", half.train), ("judged", half.judged),
                                            ("valid", half.valid))})  # fmt: skip
    found = EXAMS["float32_arm"].ask(half, SECONDS)
    assert found.answer in ("no", "undecided")  # bfloat16 is enough for this network
    assert found.values["after"] > 0.8
    with pytest.raises(NotHere, match="float32 already"):
        EXAMS["float32_arm"].ask(healthy(), SECONDS)


def test_the_interval_of_the_noise_scale_holds_that_of_the_examples_own_gradients():
    program = healthy().turned(epochs=1, most_steps=1)
    held = []
    for seed in range(6):
        found = EXAMS["noise_scale"].ask(program, Terms(seconds=20.0, seed=seed))
        exact = exact_noise_scale(program, seed)
        held.append(found.values["low"] < exact < found.values["high"])
        assert 0.1 < found.values["scale"] / exact < 10
    assert sum(held) >= 5, "an interval of 95 %"


def exact_noise_scale(program, seed):
    """tr(S) / |G|^2 over all training rows, from each row's own gradient."""
    torch.manual_seed(seed)
    model, _ = program.start(seed)
    each = []
    for row in range(program.train.num_rows):
        loss = loss_of(program, model, program.train.pick(np.array([row])))
        parts = torch.autograd.grad(loss, list(model.parameters()))
        each.append(torch.cat([p.reshape(-1).double() for p in parts]))
    table = torch.stack(each)
    return float(table.var(0, correction=0).sum() / (table.mean(0) ** 2).sum())


def test_the_learning_curve_finds_the_law_that_made_it():
    sizes = np.array([100, 200, 400, 800])
    law = 0.05 + 2.0 * sizes**-0.6
    noisy = law + np.random.default_rng(0).normal(0, 0.002, size=(3, 4))
    draws = _curve_draws(sizes, noisy, 0)
    exact = 0.05 + 2.0 * 1600**-0.6
    assert np.median(draws) == pytest.approx(exact, abs=0.006)
    assert np.quantile(draws, 0.025) <= exact <= np.quantile(draws, 0.975)


def test_more_data_are_said_to_help_where_the_score_still_rises():
    few = replace(healthy(), train=healthy().train.rows(80)).turned(epochs=40)
    found = EXAMS["data_halves"].ask(few, SECONDS)
    assert found.values["half"] < found.values["now"]
    assert found.values["low"] <= found.values["gain"] <= found.values["high"]
    assert found.answer in ("yes", "undecided")
    with pytest.raises(NotHere, match="too few"):
        EXAMS["data_halves"].ask(replace(healthy(), train=healthy().train.rows(40)), SECONDS)


def test_a_regression_with_a_far_target_gains_by_scaling_it():
    own = torch.Generator().manual_seed(0)
    x = torch.randn(200, 4, generator=own)
    y = (x[:, :1] * 100 + 5000)  # fmt: skip
    program = program_from(
        lambda: nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1)), (x, y),
        loss=nn.MSELoss(), optimizer=lambda p: torch.optim.Adam(p, lr=3e-3), epochs=10,
    )  # fmt: skip
    found = EXAMS["standardised_target"].ask(program, SECONDS)
    assert found.answer == "yes"
    assert found.shifts["D103"] > 1


def test_the_users_own_network_and_all_random_states_stay_as_they_were():
    own = net()
    kept = copy.deepcopy(own.state_dict())
    base = healthy()
    program = program_from(own, (base.train.inputs[0][:200], base.train.targets[:200]), epochs=2,
                           loss=nn.CrossEntropyLoss(), optimizer=torch.optim.Adam)  # fmt: skip
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    for question in EXAMS.values():
        try:
            question.ask(program, Terms(seconds=1.0))
        except NotHere as error:
            assert str(error.what)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    assert all(torch.equal(kept[name], value) for name, value in own.state_dict().items())
    assert all(p.grad is None for p in own.parameters())


def test_the_same_seed_gives_the_same_answer():
    found = [EXAMS["lower_rate"].ask(healthy(), Terms(seconds=20.0, seed=3)) for _ in range(2)]
    assert found[0].values == found[1].values
    other = EXAMS["lower_rate"].ask(healthy(), Terms(seconds=20.0, seed=4))
    assert other.values != found[0].values


def test_an_exam_keeps_to_its_seconds():
    long = healthy().turned(epochs=2000)
    found = EXAMS["higher_rate"].ask(long, Terms(seconds=1.0))
    assert found.seconds < 4
    assert found.notes == ("exams.note.cut",)


def test_arms_that_exams_share_are_trained_once():
    terms = Terms(seconds=20.0)
    EXAMS["higher_rate"].ask(healthy(), terms)
    trained = len(terms.trained)
    EXAMS["lower_rate"].ask(healthy(), terms)
    assert len(terms.trained) < 2 * trained + 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [("standardised_target", "no real numbers"), ("shuffled_epochs", "so already"),
     ("half_depth", "in its code"), ("replay", "stored run"), ("penalty_off", "neither"),
     ("augmentation_off", "nothing is augmented"), ("float32_arm", "float32 already")],
)  # fmt: skip
def test_an_exam_that_does_not_apply_says_why(name, reason):
    with pytest.raises(NotHere, match=reason):
        EXAMS[name].ask(healthy(), SECONDS)


def test_likelihoods_move_odds_by_bayes_rule():
    odds = Likelihood(0.9, 0.2)
    assert odds.shift(1.0) == pytest.approx(math.log(0.9 / 0.2))
    assert odds.shift(0.0) == pytest.approx(math.log(0.1 / 0.8))
    assert odds.shift(0.5) == pytest.approx(0.0), "a coin says nothing"
    assert chance_of(LEAST_GAIN, 0.01) == pytest.approx(0.5)
    assert chance_of(0.5, 0.01) > 0.999


def test_a_range_test_speaks_for_the_side_it_found_and_against_the_other():
    for code, known in RANGED.items():
        said = known.shift(near=False, said=True)
        near = known.shift(near=True, said=False)
        other = known.shift(near=False, said=False)
        assert said > 0 > max(near, other), code
        left = [1 - a - b for a, b in zip(known.near[:2], known.said[:2], strict=True)]
        assert all(-0.01 <= share < 1 for share in left), "three outcomes share one certainty"


def test_likelihoods_are_measured_on_enough_programs_or_say_that_they_are_assumed():
    sides = [n for question in EXAMS.values() for odds in question.about.values() for n in odds[2:]]
    assert all(n == 0 or n >= 4 for n in sides)
    assert sum(n >= 4 for n in sides) > 0.6 * len(sides), "most are measured"


def test_every_likelihood_lets_both_answers_happen():
    for question in EXAMS.values():
        assert question.about, question.name
        for code, odds in question.about.items():
            assert 0 < odds.given < 1, (question.name, code)
            assert 0 < odds.otherwise < 1, (question.name, code)
        assert question.price(healthy(), 0.001) > 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_exam_has_words(language):
    for name in EXAMS:
        for part in ("title", "question", "yes", "no", "undecided"):
            assert said_in(language, f"exams.{name}.{part}"), (name, part)


def test_a_name_that_is_none_is_answered_with_the_nearest():
    with pytest.raises(TrainwrightError) as caught:
        exam("overfit_one_bach")
    assert "overfit_one_batch" in caught.value.do
    assert all(exam(other).name == own for other, own in ALSO.items())


def test_a_step_takes_a_measurable_time():
    assert 0 < seconds_per_step(healthy()) < 1
