"""Which exams are about the network? Can it learn a batch by heart, is it the right size, do its
start, its dropout, its modes and its blocks do what they are for?"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.check.sample import Sample
from trainwright.core.claims import Picture
from trainwright.core.phrases import phrase
from trainwright.edit.loop import eval_loss, loss_of, score, take_step
from trainwright.edit.program import Program, unchanged
from trainwright.exam.arms import (
    FEWEST_STEPS,
    SAFETY,
    answer_of,
    compared,
    seconds_per_step,
    smooth,
    steps_within,
)
from trainwright.exam.exam import Answer, Likelihood, Question, Terms, not_here

BATCH_ROWS, BATCH_STEPS = 32, 400  # [assumed] a working network needs a quarter of these steps
BY_HEART = 0.98  # score on the batch
NEAR_PERFECT = 0.05  # of the way from the first loss to the perfect one that may be left
MODE_GAP = 0.25  # of what was learned that judging in eval mode loses [assumed]


def overfit_one_batch(program: Program, terms: Terms) -> Answer:
    """The program's own loop on BATCH_ROWS rows for ever."""
    batch = program.train.rows(BATCH_ROWS, seed=terms.seed + 1)
    # An edited target has a scale of its own, which is the batch's too; members are averaged.
    decode = unchanged if program.done else program.decode
    only = replace(program, train=replace(batch, batch_size=batch.num_rows), decode=decode)
    only = only.turned(batch_size=batch.num_rows, epochs=BATCH_STEPS, most_steps=None,
                       accumulate=1, warmup_steps=0, schedule="constant", keeps_best=False,
                       balanced=False)  # fmt: skip
    model, optimizer = _fresh(only, terms.seed)
    steps = max(FEWEST_STEPS, min(BATCH_STEPS, int(
        SAFETY * terms.seconds / max(1e-9, seconds_per_step(only)))))  # fmt: skip
    losses: list[float] = []
    feed = iter(lambda: batch, None)
    found = score(only, model, on=batch)
    while len(losses) < steps:
        losses.append(take_step(only, model, optimizer, feed))
        if not math.isfinite(losses[-1]):
            break
        if len(losses) % FEWEST_STEPS == 0:
            found = score(only, model, on=batch)
            model.train(only.habits.trains)
            terms.tell(len(losses) / steps)
            if found is not None and found >= BY_HEART:
                break
    return _learned(only, losses, found if math.isfinite(losses[-1]) else None, steps)


def _learned(program: Program, losses: list[float], found: float | None, steps: int) -> Answer:
    known = program.facts.loss
    perfect = known.perfect if known is not None and not program.done else None
    way = losses[0] - perfect if perfect is not None else math.nan
    left = (losses[-1] - perfect) / way if perfect is not None and way > 0 else math.inf
    learned = (found is not None and found >= BY_HEART) or left <= NEAR_PERFECT
    picture = Picture(x="exams.axis.steps", y="exams.axis.loss",
                      series=(smooth("exams.series.own", [np.array(losses)]),))  # fmt: skip
    cut = ("exams.note.cut",) if not learned and steps < BATCH_STEPS else ()
    return Answer(
        verdict="yes" if learned else "undecided" if cut else "no", pictures=(picture,), notes=cut,
        values={"rows": float(program.train.num_rows), "steps": float(len(losses)),
                "first": losses[0], "last": losses[-1],
                "score": math.nan if found is None else found},
    )  # fmt: skip


def _fresh(program: Program, seed: int) -> tuple[nn.Module, Any]:
    torch.manual_seed(seed)
    model, optimizer = program.start(seed)
    model.train(program.habits.trains)
    return model, optimizer


def _resized(name: str, knob: str, factor: float) -> Callable[[Program, Terms], Answer]:
    """The arm with a knob of the recipe times `factor`; of a live network by surgery, where it
    fits."""

    def work(program: Program, terms: Terms) -> Answer:
        if terms.recipe is not None:
            changed = _turned(name, knob, factor, terms)
        elif knob == "model.width":
            changed = _live(name, factor, program)
        else:
            raise not_here(name, phrase("the depth of a network of your own is in its code"),
                           do=phrase("give a recipe, or change it in your own code"))  # fmt: skip
        return answer_of(program, compared(program, changed, terms))

    return work


def _turned(name: str, knob: str, factor: float, terms: Terms) -> Program:
    from trainwright.edit.edit import Context
    from trainwright.edit.from_recipe import program_of
    from trainwright.recipe import edit

    assert terms.recipe is not None
    now = Context(resolved=terms.resolved).knob(terms.recipe, knob)
    wanted = max(1, round(now * factor)) if isinstance(now, int) else None
    if wanted is None or wanted == now or terms.recipe.live.model is not None:
        raise not_here(name, phrase("{knob} is {value}, which cannot be scaled",
                                    knob=knob, value=str(now)))  # fmt: skip
    return program_of(edit(terms.recipe, {knob: wanted}), allow_code=terms.allow_code)


def _live(name: str, factor: float, program: Program) -> Program:
    from trainwright.edit.edit import NotApplicable
    from trainwright.edit.resize import resized
    from trainwright.edit.surgical import operated

    try:
        return operated(program, name, partial(resized, factor=factor), factor=factor)
    except NotApplicable as error:
        raise not_here(name, error.what) from None


def reinitialised(program: Program, terms: Terms) -> Answer:
    """Every weight drawn anew as fits the non-linearity that follows: He's or Xavier's."""
    return _operated("reinitialised", _he, program, terms)


def _he(model: nn.Module, anatomy: Any) -> Any:
    from trainwright.edit.surgery.initial import initialise

    saturating = {"tanh", "sigmoid", "hard_tanh"}
    soft = any(each.activation in saturating for each in anatomy.layers)
    return initialise(model, anatomy, "xavier" if soft else "he")


def dropout_off(program: Program, terms: Terms) -> Answer:
    """No dropout, be it a module or a call."""
    return _operated("dropout_off", _no_dropout, program, terms)


def _no_dropout(model: nn.Module, anatomy: Any) -> Any:
    from trainwright.edit.surgery.dropout import set_dropout

    return set_dropout(model, anatomy, 0.0)


def _operated(name: str, operation: Any, program: Program, terms: Terms) -> Answer:
    from trainwright.edit.edit import NotApplicable
    from trainwright.edit.surgical import operated

    try:
        changed = operated(program, name, operation)
    except NotApplicable as error:
        raise not_here(name, error.what) from None
    return answer_of(program, compared(program, changed, terms))


class _Skip:
    """A layer's output replaced by its input."""

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        return inputs[0]


class _Without:
    """A change of a fresh network: one layer or block does nothing any more."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, model: nn.Module, few: Sample) -> None:
        model.get_submodule(self.name).register_forward_hook(_Skip())


def ablate_block(program: Program, terms: Terms) -> Answer:
    """The middle block, or layer, whose outputs have the shape of its inputs, skipped."""
    from trainwright.edit.surgery.observe import observe
    from trainwright.edit.surgical import parts_of

    model, _ = program.start(0)
    anatomy = observe(model, parts_of(program.few()))
    names = [block.name for block in anatomy.blocks if block.name]
    names = names or [each.name for each in anatomy.layers
                      if each.is_module and each.kind != "norm" and not each.is_head
                      and each.in_shape == each.out_shape and each.num_calls == 1]  # fmt: skip
    if not names:
        raise not_here("ablate_block", phrase("no block gives what has the shape of its input"))
    name = names[len(names) // 2]
    changed = replace(program, changes=(*program.changes, _Without(name)))
    return answer_of(program, compared(program, changed, terms), block=name)


def eval_mode(program: Program, terms: Terms) -> Answer:
    """After training for a while: the loss of the same rows in training mode and in eval mode."""
    steps = steps_within(program, terms.seconds, 1)
    model, optimizer = _fresh(program, terms.seed)
    rows = program.train.rows(max(2, min(512, program.habits.batch_size)), seed=terms.seed + 1)
    first = _mode_loss(program, model, rows)
    from trainwright.edit.loop import batches

    feed = batches(program.train, program.habits, terms.seed)
    for step in range(steps):
        if not math.isfinite(take_step(program, model, optimizer, feed)):
            break
        terms.tell((step + 1) / steps)
    training = _mode_loss(program, model, rows)
    judging = eval_loss(program.turned(judges=True), model, rows)
    unit = max(abs(first - training), 1e-3 * abs(first))
    worse = (judging - training) / unit
    if not math.isfinite(worse):
        verdict = "undecided" if not math.isfinite(training) else "yes"
    else:
        verdict = "yes" if worse > MODE_GAP else "no"
    return Answer(verdict=verdict, values={"training": training, "judging": judging,
                                           "first": first, "steps": float(steps)})  # fmt: skip


def _mode_loss(program: Program, model: nn.Module, rows: Sample) -> float:
    """The loss in training mode; running statistics go on as if it had not been asked."""
    kept = {name: value.detach().clone() for name, value in model.named_buffers()}
    model.train()
    with torch.no_grad():
        found: Tensor = loss_of(program, model, rows)
        for name, value in model.named_buffers():
            value.copy_(kept[name])
    model.train(program.habits.trains)
    return float(found)


def float32_arm(program: Program, terms: Terms) -> Answer:
    """Weights and inputs in float32 where they are in fewer bits."""
    half = (torch.float16, torch.bfloat16)
    model = program.make_model(0)
    if not any(p.dtype in half for p in model.parameters()):
        raise not_here("float32_arm", phrase("the weights are in float32 already"))
    changed = replace(program, changes=(*program.changes, _Whole()), **{
        part: _whole(sample) for part, sample in (("train", program.train),
                                                  ("judged", program.judged),
                                                  ("valid", program.valid)) if sample is not None
    })  # fmt: skip
    return answer_of(program, compared(program, changed, terms))


class _Whole:
    """A change of a fresh network: every parameter and buffer in float32."""

    def __call__(self, model: nn.Module, few: Sample) -> None:
        model.float()


def _whole(sample: Sample) -> Sample:
    def single(value: Any) -> Any:
        half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
        return value.float() if half else value

    return replace(sample, inputs=tuple(map(single, sample.inputs)), targets=single(sample.targets))


QUESTIONS = (
    Question(name="overfit_one_batch", work=overfit_one_batch, steps=BATCH_STEPS // 2,
             about={"M207": Likelihood(0.2, 0.38, 6, 70), "M204": Likelihood(0.12, 0.38, 6, 55),
                    "M202": Likelihood(0.16, 0.35, 5, 52), "A402": Likelihood(0.56, 0.39, 7, 71),
                    "A401": Likelihood(0.2, 0.46, 9, 25), "M201": Likelihood(0.67, 0.67, 5, 13),
                    "L301": Likelihood(0.56, 0.79, 5, 13),
                    "D110": Likelihood(0.99, 0.95, 12, 13)}),
    Question(name="half_width", work=_resized("half_width", "model.width", 0.5), trainings=4,
             about={"M208": Likelihood(0.19, 0.28, 7, 12), "M207": Likelihood(0.04, 0.22, 6, 14)}),
    Question(name="double_width", work=_resized("double_width", "model.width", 2.0), trainings=5,
             about={"M207": Likelihood(0.92, 0.38, 6, 8)}),
    Question(name="half_depth", work=_resized("half_depth", "model.depth", 0.5), trainings=4,
             about={"M204": Likelihood(0.7, 0.1), "M214": Likelihood(0.75, 0.1)}),
    Question(name="double_depth", work=_resized("double_depth", "model.depth", 2.0), trainings=5,
             about={"M207": Likelihood(0.4, 0.12)}),
    Question(name="reinitialised", work=reinitialised, trainings=4,
             about={"M206": Likelihood(0.71, 0.11, 12, 4)}),
    Question(name="dropout_off", work=dropout_off, trainings=4,
             about={"M209": Likelihood(0.75, 0.47, 0, 5)}),
    Question(name="ablate_block", work=ablate_block, trainings=4,
             about={"M214": Likelihood(0.7, 0.28, 0, 23), "M204": Likelihood(0.34, 0.27, 8, 9)}),
    Question(name="eval_mode", work=eval_mode, trainings=1,
             about={"M210": Likelihood(0.31, 0.04, 7, 4), "M212": Likelihood(0.15, 0.05, 7, 4)}),
    Question(name="float32_arm", work=float32_arm, trainings=4,
             about={"L305": Likelihood(0.5, 0.05), "M205": Likelihood(0.3, 0.05)}),
)  # fmt: skip
