"""What do rules know of a run of ours beside its readings? Facts of the program before its first
step, measured when they are first asked for, and the scores that judging found."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from trainwright.check.gather import gather
from trainwright.check.optimizer import optimizer_facts
from trainwright.check.subject import Subject, unwrapped
from trainwright.core.facts import Facts, ScoreFacts
from trainwright.core.phrases import phrase
from trainwright.core.records import Metric, RunRecord
from trainwright.data.batch import Examples
from trainwright.run.assemble import Assembly
from trainwright.run.attach import KEPT_START_BYTES

FACT_EXAMPLES = 1000  # examples of the training split that facts are measured on [assumed]


class Start:
    """A run before its first step. Measuring takes a tenth of a second and more: it waits until
    somebody asks, and then goes by a copy of the network. `known` are facts of an earlier part of
    the run; a network that is too large to be copied, or cannot be, is measured at once.
    """

    def __init__(self, assembly: Assembly, known: Facts | None) -> None:
        self._assembly, self._facts = assembly, known
        self._copy: torch.nn.Module | None = None
        if known is not None:
            return
        module = unwrapped(assembly.module)
        tensors = [*module.parameters(), *module.buffers()]
        subject = None
        if sum(t.numel() * t.element_size() for t in tensors) <= KEPT_START_BYTES:
            subject = Subject(module)
        if subject is not None and subject.is_copy:
            self._copy = subject.module
            self._optimizer = optimizer_facts(module, list(assembly.trainee.optimizers))
        else:
            self._facts = _safely(assembly, None)

    def facts(self) -> Facts:
        """Measured now, unless they are known."""
        if self._facts is None:
            found = _safely(self._assembly, self._copy)
            self._facts = replace(found, optimizer=self._optimizer)
            self._copy = None
        return self._facts


def _safely(assembly: Assembly, module: torch.nn.Module | None) -> Facts:
    """Watching stops no training: what cannot be measured is not known."""
    try:
        return facts_of(assembly, module)
    except Exception as error:
        return Facts(unseen={"facts": f"{type(error).__name__}: {error}"})


def facts_of(
    assembly: Assembly, module: torch.nn.Module | None = None, *, reference: bool = False
) -> Facts:
    """What is known of the assembly, or of it with a copy of its network in the network's place,
    whose weights the optimisers do not hold. A run does not ask quick learners for `reference`: it
    has its baselines."""
    prepared, device = assembly.prepared, assembly.trainee.device
    optimizers = list(assembly.trainee.optimizers)
    facts = gather(
        assembly.module if module is None else module, _some(prepared.train, device),
        loss=assembly.objective, optimizer=optimizers if module is None else None,
        valid=None if prepared.valid is None else _some(prepared.valid, device),
        batch_size=assembly.plan.batch_size, reference=reference,
    )  # fmt: skip
    per_epoch = max(1, len(prepared.train) // assembly.plan.examples_per_step)
    if assembly.algorithm.optimizer == "evolution":
        facts = _without_gradients(facts)
    return replace(facts, steps_per_epoch=per_epoch, total_steps=assembly.plan.total_steps)


def _without_gradients(facts: Facts) -> Facts:
    """The facts but for those that speak of gradients, for a run that asks for none: where a loss
    cannot be differentiated nothing is amiss."""
    model, loss = facts.model, facts.loss
    if model is not None:
        layers = tuple(
            replace(layer, gradient_rms=None, weight_gradient_norm=None) for layer in model.layers
        )
        model = replace(
            model, layers=layers, gradient_missing=(), gradient_zero=(), cuts=(), bad_gradients=()
        )
    reason = phrase("an evolution strategy asks for none: network and loss may break them anywhere")
    return replace(
        facts,
        model=model,
        loss=None if loss is None else replace(loss, differentiable=True),
        unseen={**facts.unseen, "gradients": reason},
    )


def _some(examples: Examples, device: torch.device) -> tuple[object, object]:
    """(X, y) of at most FACT_EXAMPLES examples: the first ones of a sorted file are of one kind."""
    inputs, target = evenly(examples, FACT_EXAMPLES, device)
    first, *rest = inputs
    return ((first, *rest) if rest else first), target


def evenly(
    examples: Examples, most: int, device: torch.device
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """(inputs, target) of at most `most` examples, from all over the split."""
    count = min(most, len(examples))
    batch = examples.pick(torch.linspace(0, len(examples) - 1, count).round().long())
    return tuple(part.to(device) for part in batch.inputs), batch.target.to(device)


def with_scores(record: RunRecord) -> RunRecord:
    """The record's facts with the scores that judging measured, and the baselines' as what can be
    had."""
    facts = record.facts
    if facts is None or not record.metrics:
        return record
    name = "r2" if "r2" in record.metrics.get("train", {}) else "accuracy"
    values = {split: _value(metrics, name) for split, metrics in record.metrics.items()}
    final = "test" if "test" in values else "valid" if "valid" in values else None
    others = {b.name: _value(b.metrics, name) for b in record.baselines}
    known = {key: value for key, value in others.items() if value is not None}
    before = facts.score or ScoreFacts(metric="accuracy", constant=0.0)
    constant = known.pop("constant", known.pop("majority", before.constant))
    best = max(known, key=lambda key: known[key], default="")
    judged = record.judgement
    score = replace(
        before, metric="r2" if name == "r2" else "accuracy", constant=constant,
        reference=known.get(best), reference_name=best, reference_sd=_error(record, best, name),
        train=values.get("train"), valid=values.get(final) if final else None,
        recalls=tuple(row.recall for row in judged.per_class) if judged is not None else (),
        num_train=_count(record, "train"), num_valid=_count(record, final or ""),
        of_step=record.chosen_step,
    )  # fmt: skip
    return replace(record, facts=replace(facts, score=score))


def _value(metrics: Mapping[str, Metric], name: str) -> float | None:
    return metrics[name].value if name in metrics else None


def _error(record: RunRecord, baseline: str, name: str) -> float | None:
    """Standard error of the baseline's score, from its 95 % interval."""
    found = next((b.metrics.get(name) for b in record.baselines if b.name == baseline), None)
    if found is None or found.low is None or found.high is None:
        return None
    return (found.high - found.low) / 3.92


def _count(record: RunRecord, split: str) -> int:
    understanding = record.understanding
    return understanding.num_examples.get(split, 0) if understanding is not None else 0
