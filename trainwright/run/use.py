"""How is a finished run used again? Encoder, model and head are rebuilt from what was written
beside the weights, so that a prediction after loading is equal to the bit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from trainwright import recipe as recipes
from trainwright.core.errors import ModelError, RunFailed
from trainwright.core.phrases import phrase
from trainwright.core.records import Metric, Notice, RunRecord, Signature, from_plain, to_plain
from trainwright.core.task import Task
from trainwright.data.batch import Encoder, Examples
from trainwright.data.prepare import encoder_from_record
from trainwright.evaluate.predict import Seen, predict
from trainwright.loss.build import build_objective
from trainwright.loss.objective import Objective
from trainwright.model.build import build
from trainwright.model.knobs import ModelKnobs
from trainwright.model.own import adopt
from trainwright.run.assemble import Assembly, own_model
from trainwright.store.contract import Store
from trainwright.train.checkpoint import Checkpoints

PREDICT_BATCH = 1024


@dataclass(slots=True, kw_only=True)
class Predictor:
    """A trained network with everything between raw data and an answer."""

    module: nn.Module
    objective: Objective
    encoder: Encoder

    @property
    def task(self) -> Task:
        return self.encoder.task

    def probabilities(self, source: object) -> tuple[np.ndarray, Examples]:
        """[example, class_] probabilities, or [example(, target)] numbers in the user's unit."""
        examples = self.encoder.encode(source, with_target=False)
        return self.encoder.decode(self._predict(examples).predictions), examples

    def _predict(self, examples: Examples) -> Seen:
        device = next((p.device for p in self.module.parameters()), torch.device("cpu"))
        return predict(
            self.module, self.objective, examples, batch_size=PREDICT_BATCH, device=device
        )

    def measure(self, source: object) -> tuple[dict[str, Metric], tuple[Notice, ...]]:
        """Metrics with intervals on new data whose answers are known."""
        from trainwright.evaluate.metrics import measure, measure_loss

        examples = self.encoder.encode(source, with_target=True)
        seen = self._predict(examples)
        values, targets = self.encoder.decode(seen.predictions), self.encoder.decode(seen.targets)
        metrics = measure(self.task, values, targets)
        return {"loss": measure_loss(seen.losses), **metrics}, examples.notices

    def answers(self, probabilities: np.ndarray) -> np.ndarray:
        """Class names (several labels: joined by |), or the numbers themselves."""
        task = self.task
        match task.kind:
            case "regression":
                return probabilities
            case "multilabel":
                names = np.array(task.classes)
                return np.array(["|".join(names[row]) for row in probabilities >= 0.5])
            case _:
                return np.array(task.classes)[probabilities.argmax(axis=1)]


def use_record(assembly: Assembly) -> dict[str, Any]:
    """Plain values that, with the weights and the recipe, make a Predictor."""
    understanding = assembly.prepared.understanding
    return {
        "encoder": assembly.prepared.encoder.to_record(),
        "signature": to_plain(understanding.signature),
        "num_outputs": assembly.num_outputs,
        "class_counts": list(understanding.class_counts.values()),
    }


def load_predictor(
    store: Store,
    record: RunRecord,
    *,
    model: nn.Module | Callable[..., Any] | None = None,
    allow_code: bool = False,
) -> Predictor:
    """The finished run's network; `model` rebuilds one that was live.

    Raises RunFailed when the run has no result yet, ModelError when the model cannot be rebuilt.
    """
    loaded = Checkpoints(store=store, run_id=record.id).load_weights("final")
    if loaded is None:
        raise RunFailed(
            phrase("run {run} is {state}: it has no result yet", run=record.id, state=record.state),
            allowed=phrase("a finished run"),
            do=phrase("`trainwright resume {run}` finishes it", run=record.id),
        )
    weights, use = loaded
    recipe = recipes.from_plain(record.recipe)
    own = model if model is not None else own_model(recipe, allow_code=allow_code)
    if own is None and not record.portable and "model.name" in record.recipe.get("live", ()):
        raise ModelError(
            phrase("run {run} trained a live model, which a store cannot hold", run=record.id),
            allowed=phrase("its class, a function that makes it, or an instance"),
            do=f"tw.load({record.id!r}, model=YourNet)",
        )
    encoder = encoder_from_record(use["encoder"])
    signature = from_plain(Signature, use["signature"])
    seed, outputs = recipe.seed, int(use["num_outputs"])
    module = (
        build(ModelKnobs(**record.resolved["model"]), signature, outputs, seed)
        if own is None
        else adopt(own, signature, outputs, seed)
    )
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(
            phrase("the weights do not fit the model"),
            allowed=phrase("the model that was trained"),
            do=phrase("check the class that you gave; torch says: {error}", error=str(error)[:200]),
        ) from None
    module.eval()
    objective = build_objective(
        recipe.loss, encoder.task, class_counts=use["class_counts"] or None, num_outputs=outputs
    )
    return Predictor(module=module, objective=objective, encoder=encoder)
