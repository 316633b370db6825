"""What does the loss curve say of the learning rate, in words? One line, where it can be told and
no cause that was named explains the curve better."""

from trainwright.core.diagnosis import Diagnosis, Evidence, Regime
from trainwright.core.words import say
from trainwright.report import format as show
from trainwright.report import rule_words as words

SURE_ENOUGH = 0.6  # of the ways to a verdict that are right less often, nothing is said [assumed]


def suspected_rate(diagnosis: Diagnosis) -> str:
    """The line of the box: of a rate that looks wrong though nothing was named; else empty."""
    told = diagnosis.rate
    return "" if told is None or told.regime == "good" else rate_beside_curve(diagnosis)


def rate_beside_curve(diagnosis: Diagnosis) -> str:
    """The same beside the curve itself, where a rate that looks good is worth a line, too."""
    told = diagnosis.rate
    if told is None or diagnosis.findings or told.confidence < SURE_ENOUGH:
        return ""
    return say(
        "diagnosis.rate_line",
        regime=say(f"diagnosis.regime.{told.regime}"),
        word=words.confidence_word(told.confidence),
        percent=words.percent(told.confidence),
        why=_why(told),
    )


def _why(told: Regime) -> str:
    """What decided, with its number."""
    first = told.evidence[0]
    name = first.reading.rpartition(".")[2]
    return say(f"diagnosis.rate_why.{name}", value=_value(name, first), step=first.step)


def _value(name: str, evidence: Evidence) -> str:
    value = evidence.value
    if isinstance(value, str):
        return words.value_words(evidence.reading, value)
    if name == "peak":
        return words.number(value + 1)
    return show.percent(max(0.0, value))
