"""Which real data is always at hand? The sets that scikit-learn carries, by name, without a
download."""

import numpy as np

from trainwright.core.errors import DataError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.data.synthetic import Arrays

NAMES = ("digits", "iris", "wine", "breast_cancer", "diabetes")
CITED = {"digits": "digit", "iris": "species", "wine": "cultivar", "breast_cancer": "diagnosis",
         "diabetes": "progression"}  # what the target is called  # fmt: skip


def load(name: str) -> Arrays:
    """The set named by `sklearn:NAME`; digits are 64 features `pixel_ROW_COLUMN`, 0 to 16.

    Raises DataError for an unknown name.
    """
    key = name.removeprefix("sklearn:").strip().lower().replace("-", "_").removeprefix("load_")
    if key not in NAMES:
        raise DataError(
            phrase("scikit-learn carries no set {key}", key=shown(key)),
            allowed=", ".join(f"sklearn:{known}" for known in NAMES),
            do=did_you_mean(key, NAMES),
        )
    from sklearn import datasets  # 1 to 2 s to import: only when asked for

    bunch = getattr(datasets, f"load_{key}")()
    is_regression = key == "diabetes"
    names = [str(feature).replace(" (cm)", "") for feature in bunch.feature_names]
    if key == "digits":
        names = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    return Arrays(
        features=np.ascontiguousarray(bunch.data, dtype=np.float32),
        target=bunch.target.astype(np.float64 if is_regression else np.int64),
        feature_names=tuple(names),
        class_names=() if is_regression else tuple(str(label) for label in bunch.target_names),
        target_name=CITED[key],
    )
