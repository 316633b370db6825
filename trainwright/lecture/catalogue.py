"""Which claims does the lecture make? One line each; what measures it is imported when asked."""

from collections.abc import Mapping

from trainwright.core.errors import TrainwrightError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.lecture.claim import Claim, Later

SOURCES: Mapping[str, str] = {
    "C02": "Salimans et al. 2017, arXiv:1703.03864",
    "C03": "Cortes & Vapnik 1995; Crammer & Singer 2001",
    "C04": "Smith 2017, arXiv:1506.01186",
    "C05": "McCandlish et al. 2018, arXiv:1812.06162",
    "C06": "Bottou & Bousquet 2008",
    "C08": "Bengio et al. 1994; Glorot & Bengio 2010",
    "C09": "Bengio et al. 1994; Pascanu et al. 2013, arXiv:1211.5063",
    "C10": "He et al. 2016, arXiv:1603.05027",
    "C11": "Pascanu et al. 2013, arXiv:1211.5063",
    "C12": "Ioffe & Szegedy 2015, arXiv:1502.03167; Wu & He 2018, arXiv:1803.08494",
    "C13": "Geman et al. 1992; Neyshabur et al. 2015, arXiv:1412.6614",
    "C16": "Srivastava et al. 2014, JMLR 15, Dropout",
    "C17": "Tibshirani 1996; Parikh & Boyd 2014, Proximal Algorithms, section 6.5.2",
}


def _claim(code: str, topic: str) -> Claim:
    """`measure_c07` of `trainwright/lecture/<topic>.py`."""
    place = Later(module=f"trainwright.lecture.{topic}", function=f"measure_{code.lower()}")
    source = SOURCES[code] if code in SOURCES else ""  # noqa: SIM401 - read as data, no prose
    return Claim(code=code, topic=topic, measure=place, source=source)


_IN_ORDER = (
    _claim("C01", "step"),
    _claim("C02", "objective"),
    _claim("C03", "learners"),
    _claim("C04", "rate"),
    _claim("C05", "batch"),
    _claim("C06", "batch"),
    _claim("C07", "linearity"),
    _claim("C08", "depth"),
    _claim("C09", "depth"),
    _claim("C10", "depth"),
    _claim("C11", "clipping"),
    _claim("C12", "normalisation"),
    _claim("C13", "capacity"),
    _claim("C14", "capacity"),
    _claim("C16", "regularisation"),
    _claim("C17", "regularisation"),
    _claim("C18", "capacity"),
    _claim("C40", "reasons"),
)
CLAIMS: Mapping[str, Claim] = {one.code: one for one in _IN_ORDER}


def claim(code: str) -> Claim:
    """The claim called `code`, in any case.

    Raises TrainwrightError with a near code when there is none.
    """
    found = CLAIMS.get(code.upper())
    if found is None:
        raise TrainwrightError(
            phrase("there is no claim {code}", code=shown(code)),
            allowed=phrase("a code as {code}; `trainwright lecture` lists them", code="C07"),
            do=did_you_mean(code, CLAIMS),
        )
    return found
