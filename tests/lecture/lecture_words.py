"""How a claim's result reads, for tests of claims."""

from trainwright.core.claims import ClaimResult, Measured
from trainwright.report.lecture import reading_words


def read(code: str, found: Measured) -> str:
    return reading_words(ClaimResult(claim=code, measured=found, seconds=1.0, device=""))
