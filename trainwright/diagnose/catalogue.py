"""Which rules are there? One line each: code, name, room, severity, function; codes are stable once
published."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from trainwright.core.diagnosis import Finding, Severity
from trainwright.core.errors import TrainwrightError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.diagnose import algorithm, data, layers, loop, loss, model, scale
from trainwright.diagnose.case import CannotTell, Case

Answer = Finding | CannotTell | None
Room = Literal["data", "model", "loss", "algorithm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One disease; `function.__doc__` is its page."""

    code: str
    room: Room
    severity: Severity
    function: Callable[[Case], Answer]

    @property
    def name(self) -> str:
        """The disease, as functions and words call it."""
        return self.function.__name__


def _room(room: Room, *rules: tuple[str, Severity, Callable[[Case], Answer]]) -> dict[str, Rule]:
    return {
        code: Rule(code=code, room=room, severity=severity, function=function)
        for code, severity, function in rules
    }


RULES: Mapping[str, Rule] = {
    **_room(
        "data",
        ("D101", "serious", scale.inputs_not_scaled),
        ("D102", "serious", scale.inputs_scaled_wrongly),
        ("D103", "serious", scale.target_not_scaled),
        ("D104", "serious", data.labels_wrong),
        ("D105", "critical", data.labels_unrelated),
        ("D106", "critical", data.labels_degenerate),
        ("D107", "serious", data.class_imbalance),
        ("D108", "serious", data.leakage),
        ("D109", "serious", data.not_shuffled),
        ("D110", "serious", data.too_little_data),
        ("D111", "serious", data.bad_rows),
    ),
    **_room(
        "model",
        ("M201", "serious", model.missing_nonlinearity),
        ("M202", "serious", layers.dying_units),
        ("M203", "serious", layers.saturated_units),
        ("M204", "serious", layers.vanishing_gradient),
        ("M205", "critical", layers.exploding_gradient),
        ("M206", "serious", layers.bad_initialisation),
        ("M207", "serious", model.too_small),
        ("M208", "serious", model.overfitting),
        ("M209", "serious", model.over_regularised),
        ("M210", "serious", model.mode_mismatch),
        ("M211", "critical", model.untrained_parameters),
        ("M212", "critical", model.examples_mixed),
        ("M213", "critical", model.sees_future),
        ("M214", "minor", model.needlessly_deep),
        ("M216", "serious", model.unsuitable_nonlinearity),
    ),
    **_room(
        "loss",
        ("L301", "critical", loss.head_loss_mismatch),
        ("L302", "critical", loss.head_cannot_reach),
        ("L303", "serious", loss.wrong_loss_family),
        ("L304", "critical", loss.wrong_reduction),
        ("L305", "critical", loss.unstable_loss),
        ("L306", "critical", loss.gradient_cut),
        ("L307", "serious", loss.penalty_dominates),
    ),
    **_room(
        "algorithm",
        ("A401", "critical", algorithm.learning_rate_too_high),
        ("A402", "serious", algorithm.learning_rate_too_low),
        ("A403", "minor", algorithm.stopped_too_early),
        ("A404", "serious", algorithm.batch_too_small),
        ("A405", "minor", algorithm.batch_too_large),
        ("A406", "critical", loop.gradients_accumulate),
        ("A407", "critical", loop.uphill),
        ("A408", "serious", algorithm.optimizer_unsuited),
        ("A409", "serious", loop.schedule_wrong),
        ("A410", "serious", loop.clipping_wrong),
        ("A411", "critical", loop.step_order_wrong),
        ("A414", "critical", loop.nothing_steps),
    ),
}


def rule(code: str) -> Rule:
    """The rule of a code or of a name. Raises TrainwrightError with near ones."""
    word = code.strip()
    found = RULES.get(word.upper())
    found = found or next((r for r in RULES.values() if r.name == word), None)
    if found is None:
        names = [*RULES, *(r.name for r in RULES.values())]
        raise TrainwrightError(
            phrase("there is no rule {code}", code=shown(word)),
            allowed=phrase("a code as A401, or a name as learning_rate_too_high"),
            do=did_you_mean(word, names) or phrase("`trainwright rules` lists them"),
        )
    return found
