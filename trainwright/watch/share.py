"""How much of the time may watching take? One default and one range for every way to watch."""

from trainwright.core.errors import TrainwrightError
from trainwright.core.phrases import phrase

SHARE = 0.02  # of the time since watching began, all in all [assumed: hardly noticed]


def check_share(budget: float) -> None:
    """Raises TrainwrightError for what is no share of the time: above 0, at most 1."""
    if not 0 < budget <= 1:
        raise TrainwrightError(
            phrase("a budget of {budget} is not possible", budget=budget),
            allowed=phrase("a share of the time above 0, at most 1"),
            do=phrase("leave it out for {usual}", usual=SHARE),
        )
