"""How do our codes read in the vocabulary of the faulty programs? An adapter for the scorer of the
development split: watch, diagnose, heal.

python /work/shared/faults/score.py --adapter benchmarks.faults_adapter
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import nn

import trainwright as tw
from trainwright.core.diagnosis import Finding
from trainwright.edit.given import program_from
from trainwright.edit.loop import rate_factor
from trainwright.edit.program import Penalty, Program
from trainwright.remedy.heal import Healing
from trainwright.remedy.heal import heal as heal_program

# code, or code.kind -> words of vocabulary.json, the likeliest first
WORDS: dict[str, tuple[str, ...]] = {
    "D101": ("missing_input_norm",),
    "D102": ("wrong_input_norm",),
    "D103": ("target_not_scaled",),
    "D104": ("label_misaligned",),
    "D105": ("label_misaligned", "degenerate_labels"),
    "D106": ("degenerate_labels", "label_encoding"),
    "D106.outside_range": ("label_encoding",),
    "D107": ("class_imbalance",),
    "D108": ("data_leakage",),
    "D109": ("no_shuffle_or_bad_split",),
    "D110": ("too_little_data",),
    "D111": ("missing_input_norm",),
    "M201": ("missing_activation",),
    "M202": ("dying_relu",),
    "M203": ("saturating_activation",),
    "M204": ("vanishing_gradient",),
    "M205": ("exploding_gradient",),
    "M205.activation": ("exploding_activation", "exploding_gradient"),
    "M206": ("init_scale",),
    "M206.constant": ("init_constant",),
    "M206.bias": ("bias_init",),
    "M207": ("capacity_too_small",),
    "M208": ("overfitting",),
    "M209": ("over_regularised",),
    "M210": ("bn_dropout_mode",),
    "M211": ("frozen_params",),
    "M212": ("batch_dim_softmax",),
    "M214": ("too_deep_or_wide",),
    "M216.softmax": ("wrong_hidden_activation",),
    "M216.exponential": ("exploding_activation",),
    "M216.repeated": ("redundant_activation",),
    "L301": ("loss_head_mismatch", "output_activation"),
    "L301.double_softmax": ("double_softmax",),
    "L301.squashed_logits": ("output_activation",),
    "L301.logits_as_probabilities": ("output_activation", "loss_head_mismatch"),
    "L301.softmax_over_one": ("output_activation",),
    "L301.sigmoid_for_exclusive": ("loss_head_mismatch", "output_activation"),
    "L302": ("output_activation",),
    "L303": ("wrong_loss", "loss_head_mismatch"),
    "L304": ("loss_reduction_or_axis",),
    "L304.sign": ("gradient_sign", "loss_reduction_or_axis"),
    "L305": ("log_zero",),
    "L306": ("loss_reduction_or_axis",),
    "L307": ("over_regularised",),
    "A401": ("lr_too_high",),
    "A402": ("lr_too_low",),
    "A403": ("too_few_epochs",),
    "A404": ("batch_size_bad",),
    "A405": ("batch_size_bad",),
    "A406": ("missing_zero_grad",),
    "A407": ("gradient_sign",),
    "A408": ("wrong_optimizer",),
    "A408.eps": ("adam_eps_or_precision",),
    "A408.plain_sgd": ("wrong_optimizer",),
    "A409": ("lr_too_low",),
    "A410": ("lr_too_low",),
    "A411": ("loop_missing",),
    "A414": ("loop_missing",),
}


class Looker:
    """An observer of the corpus's loop that hands everything to a watch."""

    watch: Any

    def start(self, program: Any) -> None:
        """The loop begins."""
        apart = program.valid_x is not program.train_x
        self.watch = tw.watch(
            program.model, program.optimizer, loss=program.loss_fn,
            data=(program.train_x, program.train_y),
            valid=(program.valid_x, program.valid_y) if apart else None,
            batch_size=program.batch_size,
        )  # fmt: skip
        self.watch.attach()

    def step(self, loss: Any, inputs: Any, outputs: Any, targets: Any) -> None:
        """One step was taken; the watch sees it by itself, but for the loss of a bare function."""

    def epoch(self, train_loss: float, valid_loss: float, valid_score: float) -> None:
        """An epoch ended."""
        self.watch.train(loss=train_loss)
        self.watch.valid(loss=valid_loss, score=valid_score)


def diagnosis(program: Any) -> Any:
    """Our own answer."""
    looker = Looker()
    try:
        program.train(looker)
    finally:
        looker.watch.detach()
    return looker.watch.diagnose()


def diagnose(program: Any) -> list[tuple[str, float]]:
    """Codes of the vocabulary with confidences: causes first, then what they explain."""
    return answers_of(diagnosis(program))


def answers_of(found: Any) -> list[tuple[str, float]]:
    """A diagnosis in the words of the vocabulary."""
    answers: dict[str, float] = {}
    for finding in _in_order(found):
        words = WORDS.get(f"{finding.code}.{finding.kind}") or WORDS.get(finding.code) or ()
        for word in words:
            answers[word] = max(answers.get(word, 0.0), finding.confidence)
    return list(answers.items())


def _in_order(found: Any) -> Iterator[Finding]:
    for finding in found.findings:
        yield finding
    for finding in found.findings:
        yield from finding.consequences
    yield from found.possible


# --- healing -------------------------------------------------------------------------------------

LOOP_ONLY = (
    "keep_best_checkpoint",
    "stop_early",
    "weigh_classes",
    "mixup",
    "add_noise",
)  # the corpus's loop has no such


def heal(program: Any) -> Any:
    """A repaired program of the corpus, not yet trained. Clipping and schedules, for which its
    loop has no place, ride on the optimiser as hooks."""
    return theirs_of(program, healing(program).target)


def healing(program: Any, *, budget: float | None = None, seeds: int = 0) -> Healing:
    """What healing comes to, without the proof: the scorer trains on a seed of its own."""
    return heal_program(ours_of(program), budget=budget, seeds=seeds, without=LOOP_ONLY)


def ours_of(program: Any) -> Program:
    """The corpus's objects as a program of ours."""
    apart = program.valid_x is not program.train_x
    made = program_from(
        program.model, (program.train_x, program.train_y), loss=program.loss_fn,
        optimizer=program.optimizer, batch_size=program.batch_size, epochs=program.epochs,
        valid=(program.valid_x, program.valid_y) if apart else None, held_out=apart,
    )  # fmt: skip
    names = {id(p): name for name, p in program.model.named_parameters()}
    penalties = tuple(Penalty(parameter=names[id(w)], l1=l1, l2=l2)
                      for w, l1, l2 in program.penalties)  # fmt: skip
    return made.turned(most_steps=program.max_steps, seconds=program.seconds, penalties=penalties)


def theirs_of(program: Any, healed: Any) -> Any:
    """A program of ours as the corpus's objects, its held-out targets as they were."""
    assert isinstance(healed, Program)
    model, optimizer = healed.start(0)
    habits, total = healed.habits, healed.num_steps
    if habits.clip_norm is not None:
        optimizer.register_step_pre_hook(
            lambda *_: nn.utils.clip_grad_norm_(model.parameters(), habits.clip_norm) and None
        )
    if habits.warmup_steps or habits.schedule != "constant":
        rates, step = [group["lr"] for group in optimizer.param_groups], iter(range(10**9))

        def schedule(*_: Any) -> None:
            factor = rate_factor(habits, next(step), total)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor

        optimizer.register_step_pre_hook(schedule)
    named = dict(model.named_parameters())
    return replace(
        program, model=model, loss_fn=healed.loss, optimizer=optimizer, decode=healed.decode,
        train_x=healed.train.inputs[0], train_y=healed.train.targets,
        valid_x=healed.judged.inputs[0], batch_size=habits.batch_size, epochs=habits.epochs,
        penalties=[(named[p.parameter], p.l1, p.l2) for p in habits.penalties],
    )  # fmt: skip
