"""How well do scores put positives above negatives? Area under the ROC curve and average
precision, with each row's influence; ties count as scikit-learn counts them."""

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from trainwright.evaluate.estimate import Estimate, undefined


def roc_auc(scores: Real[np.ndarray, " row"], positive: Bool[np.ndarray, " row"]) -> Estimate:
    """Share of (positive, negative) pairs in the right order, ties half.

    With V10 = share of negatives below a positive and V01 = share of positives above a negative,
    influence = (V10 - AUC) / P for positives and (V01 - AUC) / N for negatives. NaN when one of the
    two is absent.

    Source: DeLong, DeLong & Clarke-Pearson 1988, equations 1 to 4.
    """
    num = len(scores)
    num_positive = float(np.count_nonzero(positive))
    num_negative = num - num_positive
    if not num_positive or not num_negative:
        return undefined(num)
    group, count, positives = _groups(scores, positive)
    negatives = count - positives
    below = (np.cumsum(negatives) - negatives / 2) / num_negative
    above = (num_positive - np.cumsum(positives) + positives / 2) / num_positive
    value = float(positives @ below / num_positive)
    by_group = np.stack([(above - value) / num_negative, (below - value) / num_positive], axis=1)
    return Estimate(
        value=value,
        influence=by_group[group, positive.astype(np.intp)],
        scale="share",
        num_at_edge=min(num_positive, num_negative),
    )


def average_precision(
    scores: Real[np.ndarray, " row"], positive: Bool[np.ndarray, " row"]
) -> Estimate:
    """Σ over thresholds of (recall - recall before) times precision. NaN without positives.

    With A, B the positives and rows at or above a threshold and P positives in all,
        AP = 1/P Σ_{i positive} A_i / B_i
        influence_k = (1/P) (y_k (A_k/B_k - AP + Σ_i 1/B_i) - Σ_i A_i/B_i²),
    sums over the positives i that are not above k.

    Source: the derivative of scikit-learn's definition; it is checked against that by differences.
    """
    num = len(scores)
    num_positive = float(np.count_nonzero(positive))
    if not num_positive:
        return undefined(num)
    group, count, positives = _groups(scores, positive)
    hits = np.cumsum(positives[::-1])[::-1]
    rows = np.cumsum(count[::-1])[::-1]
    precision = hits / rows
    value = float(positives @ precision / num_positive)
    gain = (precision - value + np.cumsum(positives / rows)) / num_positive
    loss = np.cumsum(positives * precision / rows) / num_positive
    return Estimate(
        value=value,
        influence=np.where(positive, (gain - loss)[group], -loss[group]),
        scale="share",
        num_at_edge=num_positive,
    )


def resampled_average_precision(
    scores: Real[np.ndarray, " row"],
    positive: Bool[np.ndarray, " row"],
    weights: Real[np.ndarray, "resample row"],
) -> Float[np.ndarray, " resample"]:
    """Average precision of each resample."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(scores) - 1)
    sorted_weights = weights[:, order]
    rows = np.cumsum(sorted_weights, axis=1, dtype=np.float64)[:, last]
    hits = np.cumsum(sorted_weights * positive[order], axis=1, dtype=np.float64)[:, last]
    gained = np.diff(hits, axis=1, prepend=0.0)
    total = hits[:, -1]
    precision = np.divide(hits, rows, out=np.zeros_like(hits), where=rows > 0)
    area = np.einsum("rg,rg->r", gained, precision)
    return np.divide(area, total, out=np.full_like(total, np.nan), where=total > 0)


def _groups(
    scores: Real[np.ndarray, " row"], positive: Bool[np.ndarray, " row"]
) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " group"], Float[np.ndarray, " group"]]:
    """Rows of equal score, lowest first: group of each row, rows and positives of each group."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.empty(len(scores), dtype=bool)
    starts[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=starts[1:])
    group = np.empty(len(scores), dtype=np.intp)
    group[order] = np.cumsum(starts) - 1
    count = np.bincount(group)
    return group, count, np.bincount(group, weights=positive, minlength=len(count))
