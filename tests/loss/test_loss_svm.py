"""A hinge loss on linear features with decay is a support vector machine."""

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.svm import LinearSVC

from trainwright.core.task import Task
from trainwright.loss.build import build_objective
from trainwright.loss.knobs import LossKnobs


def test_hinge_on_linear_features_is_linear_svc_within_noise():
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    X = np.hstack([X, np.ones((len(X), 1))])  # LinearSVC penalises its intercept too
    C, num = 0.05, len(X)
    oracle = LinearSVC(C=C, loss="squared_hinge", fit_intercept=False, tol=1e-8, max_iter=20_000)
    oracle.fit(X, y)
    knobs = LossKnobs(name="hinge", hinge_power=2)
    task = Task(kind="binary", classes=("malignant", "benign"))
    objective = build_objective(knobs, task, class_counts=None, num_outputs=1)
    inputs, target = torch.tensor(X), torch.tensor(y)
    weight = torch.zeros(X.shape[1], 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = weight.square().sum() / 2 + C * num * objective(inputs @ weight, target)
        value.backward()
        return value

    optimizer.step(loss)
    assert np.allclose(weight.detach().numpy()[:, 0], oracle.coef_[0], atol=2e-3)
    predicted = objective.predict(inputs @ weight).argmax(dim=1).numpy()
    assert (predicted == oracle.predict(X)).mean() == 1.0
