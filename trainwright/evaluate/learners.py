"""How is each simple learner fitted? scikit-learn's, on flat rows; what comes back predicts as a
network does: class probabilities, or numbers.

Linear learners see standardised numbers, one-hot categories and tf-idf of tokens; trees see numbers
and codes as they are, and counts of the commonest tokens.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from trainwright.core.task import Task
from trainwright.evaluate.estimate import Predictions, Targets
from trainwright.evaluate.flatten import Rows

Predict = Callable[[Rows], Predictions]
MOST_TREE_TOKENS = 512  # boosted trees need dense columns [assumed]
MOST_CATEGORIES = 254  # what HistGradientBoosting's bins hold
MOST_BOOSTED_TREES = 3000  # one per class and round: rounds are cut for it [assumed]
SMALLEST_LEAF = 5  # a fully grown tree's probabilities are all 0 or 1 [assumed]


def learners_for(task: Task) -> tuple[str, ...]:
    """Names, cheapest first."""
    if task.kind == "regression":
        return ("constant", "linear", "tree", "boosted_trees")
    return ("constant", "logistic", "tree", "linear_svm", "boosted_trees")


def fit_learner(name: str, task: Task, rows: Rows, *, seed: int) -> Predict:
    """Raises whatever scikit-learn raises on rows that it cannot learn from."""
    if name == "constant":
        return _constant(task, rows.target)
    view = _tree_view(rows) if name in ("tree", "boosted_trees") else _linear_view(rows)
    seed = seed % 2**32
    inputs = view(rows)
    codes = slice(rows.numbers.shape[1], rows.numbers.shape[1] + rows.codes.shape[1])
    coded = _small_categories(rows, inputs.shape[1], codes)
    if task.kind in ("binary", "multiclass"):
        return _classes(_classifier(name, seed, coded, task), view, inputs, rows.target, task)
    columns = rows.target.reshape(len(rows), -1)
    one = _labels if task.kind == "multilabel" else _numbers
    make = _classifier if task.kind == "multilabel" else _regressor
    fitted = [one(make(name, seed, coded, task), inputs, columns[:, j])
              for j in range(columns.shape[1])]  # fmt: skip
    flat = rows.target.ndim == 1

    def predict(new: Rows) -> Predictions:
        seen = view(new)
        values = np.stack([column(seen) for column in fitted], axis=1)
        return values[:, 0] if flat else values

    return predict


def _constant(task: Task, target: Targets) -> Predict:
    """Shares of the classes, or the mean of the numbers: what is best knowing no input."""
    if task.kind in ("binary", "multiclass"):
        counts = np.bincount(target.astype(np.intp), minlength=len(task.classes))
        guess = counts / counts.sum()
    else:
        guess = target.mean(axis=0, dtype=np.float64)
    return lambda new: np.broadcast_to(guess, (len(new), *np.shape(guess))).copy()


def _classifier(name: str, seed: int, coded: Any, task: Task) -> Any:
    match name:
        case "logistic":
            from sklearn.linear_model import LogisticRegression

            return LogisticRegression(max_iter=200)
        case "linear_svm":
            from sklearn.svm import LinearSVC

            return LinearSVC(random_state=seed)
        case "tree":
            from sklearn.tree import DecisionTreeClassifier

            return DecisionTreeClassifier(min_samples_leaf=SMALLEST_LEAF, random_state=seed)
        case "boosted_trees":
            from sklearn.ensemble import HistGradientBoostingClassifier

            rounds = min(100, max(1, MOST_BOOSTED_TREES // max(1, len(task.classes))))
            return HistGradientBoostingClassifier(
                max_iter=rounds, categorical_features=coded, random_state=seed
            )
    raise AssertionError(name)


def _regressor(name: str, seed: int, coded: Any, task: Task) -> Any:
    match name:
        case "linear":
            from sklearn.linear_model import Ridge

            return Ridge()
        case "tree":
            from sklearn.tree import DecisionTreeRegressor

            return DecisionTreeRegressor(min_samples_leaf=SMALLEST_LEAF, random_state=seed)
        case "boosted_trees":
            from sklearn.ensemble import HistGradientBoostingRegressor

            return HistGradientBoostingRegressor(categorical_features=coded, random_state=seed)
    raise AssertionError(f"{name} of {task.kind}")


def _classes(
    model: Any,
    view: Callable[[Rows], Any],
    inputs: Any,
    target: Int[np.ndarray, " row"],
    task: Task,
) -> Predict:
    """Probabilities of all classes of the task, 0 for those not among the fitted rows. Margins are
    squashed (logistic, softmax): the chosen class and the order are kept."""
    model.fit(inputs, target)
    known = model.classes_.astype(np.intp)

    def predict(new: Rows) -> Predictions:
        seen = view(new)
        found = np.zeros((len(new), len(task.classes)))
        if hasattr(model, "predict_proba"):
            found[:, known] = model.predict_proba(seen)
        else:
            margins = model.decision_function(seen)
            if margins.ndim == 1:
                share = _squashed(margins)
                found[:, known] = np.stack([1 - share, share], axis=1)
            else:
                powers = np.exp(margins - margins.max(axis=1, keepdims=True))
                found[:, known] = powers / powers.sum(axis=1, keepdims=True)
        return found

    return predict


def _labels(
    model: Any, inputs: Any, target: Float[np.ndarray, " row"]
) -> Callable[[Any], Float[np.ndarray, " row"]]:
    """Probability that one label is set."""
    labels = (target > 0.5).astype(np.intp)
    if labels.min() == labels.max():
        return lambda seen: np.full(seen.shape[0], float(labels[0]))
    model.fit(inputs, labels)
    if hasattr(model, "predict_proba"):
        return lambda seen: model.predict_proba(seen)[:, 1]
    return lambda seen: _squashed(model.decision_function(seen))


def _numbers(
    model: Any, inputs: Any, target: Float[np.ndarray, " row"]
) -> Callable[[Any], Float[np.ndarray, " row"]]:
    model.fit(inputs, target)
    return model.predict


def _squashed(margin: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    return 0.5 * (1 + np.tanh(margin / 2))


def _linear_view(rows: Rows) -> Callable[[Rows], Any]:
    from scipy.sparse import csr_array, hstack
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    scaler = StandardScaler().fit(rows.numbers) if rows.numbers.shape[1] else None
    coder = None
    if rows.codes.shape[1]:
        coder = OneHotEncoder(handle_unknown="ignore").fit(rows.codes)
    weigher = None if rows.counts is None else TfidfTransformer(sublinear_tf=True).fit(rows.counts)

    def view(new: Rows) -> Any:
        dense = new.numbers if scaler is None else scaler.transform(new.numbers)
        parts = [] if coder is None else [coder.transform(new.codes)]
        parts += [] if weigher is None else [weigher.transform(new.counts)]
        if not parts:
            return dense
        joined = csr_array(hstack([csr_array(dense), *parts], format="csr"))
        if joined.nnz < 2**31:  # LinearSVC takes no wider indices, and scipy may have made them
            joined.indices = joined.indices.astype(np.int32)
            joined.indptr = joined.indptr.astype(np.int32)
        return joined

    return view


def _tree_view(rows: Rows) -> Callable[[Rows], Float[np.ndarray, "row feature"]]:
    common = np.zeros(0, dtype=np.intp)
    if rows.counts is not None:
        texts = np.asarray((rows.counts > 0).sum(axis=0)).ravel()
        common = np.argsort(-texts, kind="stable")[:MOST_TREE_TOKENS]

    def view(new: Rows) -> Float[np.ndarray, "row feature"]:
        parts = [new.numbers, new.codes.astype(np.float32)]
        parts += [] if new.counts is None else [new.counts[:, common].toarray()]
        return np.concatenate(parts, axis=1)

    return view


def _small_categories(rows: Rows, width: int, codes: slice) -> Bool[np.ndarray, " {width}"]:
    """Which columns of the tree view are categories that histogram bins can hold."""
    coded = np.zeros(width, dtype=bool)
    if rows.codes.shape[1]:
        coded[codes] = rows.codes.max(axis=0) <= MOST_CATEGORIES
    return coded
