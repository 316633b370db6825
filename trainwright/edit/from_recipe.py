"""How is a recipe experimented on? As a program of live parts, for short trainings in this process;
what it says of data, network, loss and algorithm is built as a run would build it."""

import torch
from torch import Tensor, nn

from trainwright.algorithm.optimizer import build_optimizers
from trainwright.algorithm.resolve import resolve_steps
from trainwright.check.sample import Sample
from trainwright.core.errors import TrainwrightError
from trainwright.core.facts import ScoreFacts, with_known
from trainwright.core.phrases import phrase
from trainwright.data.batch import Examples
from trainwright.edit.optimizer import plan_of
from trainwright.edit.program import Habits, Program
from trainwright.recipe import Recipe
from trainwright.run.assemble import Assembly, assemble, build_model, loss_code, own_model
from trainwright.run.facts import evenly, facts_of
from trainwright.run.surroundings import own_randomness

MOST_ROWS = 20_000  # of a split that an experiment reads [assumed]


def program_of(
    recipe: Recipe, *, allow_code: bool = False, known: ScoreFacts | None = None
) -> Program:  # fmt: skip
    """The program that `recipe` stands for, its `auto`s resolved, over at most MOST_ROWS examples
    of each split, without augmentation. `known` is what can be had on its data, found out where it
    is left out.

    Raises TrainwrightError for a recipe that cannot be assembled, or that trains by several
    optimisers at once.
    """
    with own_randomness(recipe.seed):
        assembly = assemble(recipe, allow_code=allow_code)
        try:
            return _program(recipe, assembly, allow_code, known)
        finally:
            assembly.prepared.close()


def _program(
    recipe: Recipe, assembly: Assembly, allow_code: bool, known: ScoreFacts | None
) -> Program:  # fmt: skip
    prepared, device = assembly.prepared, assembly.trainee.device
    train = _sample(prepared.train, device, assembly.plan.batch_size)
    valid = _sample(prepared.valid, device) if prepared.valid is not None else None
    facts = facts_of(assembly, reference=known is None)
    facts = facts if known is None else with_known(facts, known)
    optimizers = tuple(build_optimizers(assembly.algorithm, assembly.module))
    if len(optimizers) != 1:
        raise TrainwrightError(
            phrase("this recipe trains by several optimisers at once"),
            allowed=phrase("one optimiser"),
            do=phrase("choose algorithm.optimizer = 'adamw' or 'sgd' for the experiment"),
        )
    knobs, plan = assembly.algorithm, assembly.plan
    rate = float(knobs.learning_rate)
    steps = plan.total_steps or max(1, plan.steps_per_epoch)
    make = _Maker(recipe, assembly, allow_code)
    warmup = resolve_steps(knobs, steps).warmup_steps
    assert isinstance(warmup, int)
    return Program(
        make_model=make, loss=assembly.objective, train=train, valid=valid,
        optimizer=plan_of(optimizers[0], assembly.module).turned(lr=rate),
        judged=valid or train, facts=facts, decode=mean_of_members,
        habits=Habits(
            batch_size=plan.batch_size, epochs=max(1, -(-steps // plan.steps_per_epoch)),
            most_steps=steps, seconds=plan.seconds, accumulate=knobs.accumulate,
            clip_norm=knobs.clip_norm, keeps_best=False, balanced=knobs.sampler == "balanced",
            warmup_steps=warmup,
            schedule="constant" if knobs.schedule == "constant" else "cosine",
        ),
    )  # fmt: skip


def mean_of_members(outputs: Tensor) -> Tensor:
    """[batch, member, output] -> [batch, output]; others as they are."""
    return outputs.mean(1) if outputs.ndim == 3 else outputs


class _Maker:
    """seed -> the recipe's network, fresh."""

    def __init__(self, recipe: Recipe, assembly: Assembly, allow_code: bool) -> None:
        self._recipe, self._assembly, self._allow = recipe, assembly, allow_code

    def __call__(self, seed: int) -> nn.Module:
        recipe = self._recipe.model_copy(update={"seed": seed})
        own = own_model(recipe, allow_code=self._allow)
        loss = loss_code(recipe, allow_code=self._allow)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module, _ = build_model(recipe, self._assembly.prepared, own, loss,
                                    self._assembly.model)  # fmt: skip
        return module.to(self._assembly.trainee.device)


def _sample(examples: Examples, device: torch.device, batch_size: int = 32) -> Sample:
    inputs, target = evenly(examples, MOST_ROWS, device)
    return Sample(inputs=inputs, targets=target, num_examples=len(target), batch_size=batch_size)
