"""How do the parts of a recipe become one thing that can train? Data is prepared, `auto` becomes
numbers, head and loss are paired, and model, objective and algorithm are built from the seed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from trainwright.algorithm.average import build_average
from trainwright.algorithm.knobs import AlgorithmKnobs
from trainwright.algorithm.optimizer import build_optimizers
from trainwright.algorithm.precision import build_precision, quick_precision
from trainwright.algorithm.resolve import resolve, resolve_steps
from trainwright.algorithm.sampler import build_order
from trainwright.algorithm.schedule import build_plateau
from trainwright.algorithm.update import Update
from trainwright.core.errors import Problem, RecipeError
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice, Signature
from trainwright.core.task import METRICS
from trainwright.data.batch import Batch, Order, Prepared
from trainwright.data.knobs import DataKnobs
from trainwright.data.prepare import prepare
from trainwright.data.told import Tell, unheard
from trainwright.evaluate.metrics import primary_metric
from trainwright.loss.build import (
    build_objective,
    check_target,
    needs_raw_target,
    num_outputs_for_loss,
)
from trainwright.loss.objective import Objective
from trainwright.model.build import build
from trainwright.model.knobs import ModelKnobs
from trainwright.model.own import adopt, try_forward
from trainwright.model.resolve import auto_network, without_effect
from trainwright.model.resolve import resolve as resolve_model
from trainwright.recipe import Recipe
from trainwright.run.code import load_code, names_code
from trainwright.train.evolution import EvolutionStep
from trainwright.train.plan import Plan, make_plan
from trainwright.train.step import EagerStep, Step
from trainwright.train.trainee import Trainee


@dataclass(slots=True, kw_only=True)
class Assembly:
    """A recipe made ready to train."""

    recipe: Recipe
    prepared: Prepared
    module: nn.Module
    num_outputs: int
    objective: Objective
    model: ModelKnobs | None  # every `auto` resolved; None for a user's own
    algorithm: AlgorithmKnobs  # every `auto` resolved
    plan: Plan
    trainee: Trainee
    step: Step
    order: Order
    metric: str  # what decides which weights are best
    notices: tuple[Notice, ...]

    def resolved(self) -> dict[str, Any]:
        """[model] and [algorithm] as they were really built: every `auto` a value."""
        algorithm = self.algorithm
        if self.plan.total_steps is not None:
            algorithm = resolve_steps(algorithm, self.plan.total_steps)
        found = {"algorithm": algorithm.model_dump(mode="json")}
        if self.model is not None:
            found["model"] = self.model.model_dump(mode="json")
        return found


def assemble(
    recipe: Recipe,
    *,
    allow_code: bool = False,
    prepared: Prepared | None = None,
    tell: Tell = unheard,
    resolved: Mapping[str, Any] = MappingProxyType({}),
) -> Assembly:
    """Builds everything of a run; the caller has set the global random state. `tell` hears how far
    reading the data is. `resolved` is what `Assembly.resolved` said when the run began: what `auto`
    meant then it means now, whatever has become of our defaults.

    Raises RecipeError, DataError or ModelError with everything a user must mend.
    """
    own = own_model(recipe, allow_code=allow_code)
    own_loss = loss_code(recipe, allow_code=allow_code)
    if prepared is None:
        prepared = prepare_data(recipe, one_tensor=own is not None, tell=tell)
    device = choose_device(recipe.algorithm)
    understanding = prepared.understanding
    model = model_knobs(recipe, prepared, own, resolved.get("model"))
    module, num_outputs = build_model(recipe, prepared, own, own_loss, model)
    module.to(device)
    objective = build_objective(
        recipe.loss,
        understanding.task,
        class_counts=list(understanding.class_counts.values()) or None,
        custom=own_loss,
        num_outputs=num_outputs,
    ).to(device)
    check_target(recipe.loss, _few(prepared).target)
    num_train = len(prepared.train)
    network = None if own is not None else auto_network(recipe.model, understanding.signature)
    asked = algorithm_knobs(recipe, resolved.get("algorithm"))
    if asked.learning_rate == "measured":
        raise _unmeasured()
    algorithm = resolve(
        asked, num_train=num_train, network=network, quick_precision=quick_precision(device)
    )
    assert isinstance(algorithm.batch_size, int)
    plan = make_plan(
        recipe.budget,
        algorithm,
        batch_size=algorithm.batch_size,
        num_train=num_train,
        num_valid=len(prepared.valid) if prepared.valid is not None else 0,
    )
    targets = None if algorithm.sampler == "uniform" else prepared.train.targets()
    order = build_order(
        algorithm, targets, num_train, recipe.seed, classes=understanding.task.classes
    )
    optimizers = build_optimizers(algorithm, module)
    precision = build_precision(algorithm, device)
    average = build_average(algorithm, module)
    trainee = Trainee(
        module=module,
        optimizers=optimizers,
        precision=precision,
        average=average,
        plateau=build_plateau(algorithm),
        device=device,
    )
    parts: dict[str, Any] = {
        "module": module,
        "objective": objective,
        "update": Update(algorithm, module, optimizers, precision),
        "precision": precision,
        "average": average,
        "device": device,
    }
    without_gradient = algorithm.optimizer == "evolution"
    step: Step = (
        EvolutionStep(**parts, knobs=algorithm, few=_few(prepared))
        if without_gradient
        else EagerStep(**parts)
    )
    return Assembly(
        recipe=recipe,
        prepared=prepared,
        module=module,
        num_outputs=num_outputs,
        objective=objective,
        model=model,
        algorithm=algorithm,
        plan=plan,
        trainee=trainee,
        step=step,
        order=order,
        metric=_deciding_metric(prepared),
        notices=(*objective.notices, *_idle_knobs(recipe, own, understanding.signature)),
    )


def _idle_knobs(recipe: Recipe, own: Any | None, signature: Signature) -> tuple[Notice, ...]:
    """Model knobs that were turned but do nothing here."""
    return () if own is not None else without_effect(recipe.model, signature)


def prepare_data(recipe: Recipe, *, one_tensor: bool, tell: Tell = unheard) -> Prepared:
    """The recipe's data, live or named; targets stay raw where the loss needs counts."""
    source: Any = recipe.data.source
    if recipe.live.source is not None:
        source = recipe.live.source
        if recipe.live.target is not None:
            source = (source, recipe.live.target)
    knobs: DataKnobs = recipe.data
    if needs_raw_target(recipe.loss):
        knobs = knobs.model_copy(update={"standardise_target": False})
    sequences = recipe.model.name == "rnn" and recipe.live.model is None
    return prepare(
        source, knobs, seed=recipe.seed, one_tensor=one_tensor, sequences=sequences, tell=tell
    )


def own_model(recipe: Recipe, *, allow_code: bool) -> nn.Module | Callable[..., Any] | None:
    """The user's own model, live or named as code; None for a built-in one."""
    if recipe.live.model is not None:
        return recipe.live.model
    if names_code(recipe.model.name):
        return load_code(recipe.model.name, allowed=allow_code)
    return None


def loss_code(recipe: Recipe, *, allow_code: bool) -> Callable[..., Any] | None:
    """The user's own loss, live or named as code; None for a built-in one."""
    if recipe.live.loss is not None:
        return recipe.live.loss
    if names_code(recipe.loss.name):
        return load_code(recipe.loss.name, allowed=allow_code)
    return None


def model_knobs(
    recipe: Recipe, prepared: Prepared, own: Any | None, was: Mapping[str, Any] | None
) -> ModelKnobs | None:
    """[model] without any `auto`; None for a user's own."""
    if own is not None:
        return None
    task, signature = prepared.understanding.task, prepared.understanding.signature
    asked = recipe.model if was is None else ModelKnobs(**was)
    return resolve_model(asked, signature, regression=not task.is_classification)


def algorithm_knobs(recipe: Recipe, was: Mapping[str, Any] | None) -> AlgorithmKnobs:
    """[algorithm] as asked for, or as it was in the run that is resumed; what goes by the number of
    steps stays open, since the clock may have shortened the run after that was written."""
    if was is None:
        return recipe.algorithm
    by_length = {name: getattr(recipe.algorithm, name) for name in ("warmup_steps", "step_every")}
    return AlgorithmKnobs(**{**was, **by_length})


def _unmeasured() -> RecipeError:
    """`measured` must have become a number before anything is built."""
    return RecipeError([Problem(
        path="algorithm.learning_rate",
        what=phrase("'measured' has not been measured here"),
        allowed=phrase("a number, auto; measured where a run is started"),
        do=phrase("`trainwright fit` and `tw.fit` measure it; else give a number or auto"),
    )])  # fmt: skip


def build_model(
    recipe: Recipe,
    prepared: Prepared,
    own: Any | None,
    own_loss: Any | None,
    model: ModelKnobs | None,
) -> tuple[nn.Module, int]:
    """The module, and how many outputs it has; an own module is asked by one dry run."""
    signature, task = prepared.understanding.signature, prepared.understanding.task
    wanted = num_outputs_for_loss(recipe.loss, task, own_loss)
    if model is not None:
        return build(model, signature, wanted, recipe.seed), wanted
    assert own is not None
    module = adopt(own, signature, wanted, recipe.seed)
    shape = try_forward(module, _few(prepared).inputs)
    return module, 1 if len(shape) == 1 else shape[-1]


def choose_device(knobs: AlgorithmKnobs) -> torch.device:
    """`auto` takes an accelerator when there is one."""
    there = torch.cuda.is_available()
    if knobs.device == "cuda" and not there:
        problem = Problem(
            path="algorithm.device",
            what=phrase("'cuda' is not possible: torch finds no such device here"),
            allowed="auto, cpu",
            do=phrase(
                "leave algorithm.device at auto, or install a torch with CUDA on a machine with it"
            ),
        )
        raise RecipeError([problem])
    return torch.device("cuda" if there and knobs.device != "cpu" else "cpu")


def _deciding_metric(prepared: Prepared) -> str:
    """The verdict's own metric, so that the weights kept are the best at what is judged."""
    task, valid = prepared.understanding.task, prepared.valid
    if task.kind != "binary" or valid is None:
        return METRICS[task.kind][0]
    return primary_metric(task, valid.targets().cpu().numpy())


def _few(prepared: Prepared) -> Batch:
    return next(prepared.train.batches(min(2, len(prepared.train))))
