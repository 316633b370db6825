"""Which one change stands for a remedy, or for a finding, on a stored run? The edited recipe, with
what the run's record knows."""

from collections.abc import Sequence

from trainwright.core.diagnosis import Finding
from trainwright.core.errors import TrainwrightError
from trainwright.core.phrases import phrase
from trainwright.core.records import RunRecord
from trainwright.diagnose.catalogue import RULES
from trainwright.edit.catalogue import edit_named, edits
from trainwright.edit.edit import Context, NotApplicable
from trainwright.recipe import Recipe
from trainwright.run.recall import judge_stored
from trainwright.store.contract import Reading


def remedied(
    recipe: Recipe, record: RunRecord, readings: Sequence[Reading], code: str
) -> tuple[Recipe, str, str]:
    """(the edited recipe, the remedy's name, the code of the finding that it is to close).

    `code` is a remedy, or a rule of which the run has a finding. Raises TrainwrightError for words
    that are neither, and NotApplicable where nothing fits.
    """
    found, history = judge_stored(record, readings)
    every = [f for root in (*found.findings, *found.possible) for f in (root, *root.consequences)]
    word = code.strip()
    if word.upper() in RULES:
        finding = next((f for f in every if f.code == word.upper()), None)
        if finding is None:
            raise TrainwrightError(
                phrase("{code} is not among the findings of {run}", code=word, run=record.id),
                allowed=", ".join(dict.fromkeys(f.code for f in every)) or phrase("none"),
                do=phrase("name a remedy instead, as lower_learning_rate"),
            )
        names = finding.remedies
    else:
        names = (edit_named(word).name,)
        finding = next((f for f in every if word in f.remedies), None)
    context = Context(finding=finding, facts=record.facts, history=history,
                      resolved=record.resolved)  # fmt: skip
    return _first_that_fits(recipe, names, context, finding)


def _first_that_fits(
    recipe: Recipe, names: Sequence[str], context: Context, finding: Finding | None
) -> tuple[Recipe, str, str]:
    reasons: list[NotApplicable] = []
    table = edits()
    for name in names:
        if name not in table:
            continue
        try:
            edited = table[name].apply(recipe, context)
        except NotApplicable as error:
            reasons.append(error)
            continue
        assert isinstance(edited, Recipe)
        return edited, name, finding.code if finding is not None else ""
    if reasons:
        raise reasons[0]
    raise TrainwrightError(
        phrase("there is nothing to try for {code}", code=context.finding.code
               if context.finding is not None else "?"),
        allowed=phrase("a finding with a remedy that can be applied"),
        do=phrase("`trainwright explain CODE` says what a person can do"),
    )  # fmt: skip
