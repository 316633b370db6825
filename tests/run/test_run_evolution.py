"""A run without gradients is watched, stopped, gone on with and used like any other."""

import os
import signal

import numpy as np
import pytest

import trainwright as tw
from trainwright.run.messages import Looked, Progressed

RNG = np.random.default_rng(2)
X = RNG.normal(size=(400, 5)).astype("float32")
Y = np.where(X[:, 0] + X[:, 1] > 0.2, "sick", "well")
WAY = {"optimizer": "evolution", "population": 16, "batch_size": 64}
MODEL = {"name": "mlp", "depth": 1, "width": 12, "dropout": 0.1, "norm": "batch"}


def fitted(loss="zero_one", budget="60 steps", **options):
    return tw.fit(X, Y, model=MODEL, loss=loss, algorithm=WAY, budget=budget, quiet=True, **options)


def stops_at(step):
    sent = []

    def listen(message):
        if isinstance(message, (Progressed, Looked)) and message.step >= step and not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))

    return listen


def test_stopped_and_resumed_it_ends_at_the_same_bit_and_predicts_the_same(url):
    stopped = fitted(store=url, name="stopped", listener=stops_at(20))
    assert stopped.state == "interrupted"
    assert 20 <= stopped.record.steps < 60
    gone_on = tw.resume("stopped", store=url, source=X, y=Y, quiet=True)
    whole = fitted()
    assert gone_on.weights_sha256 == whole.weights_sha256
    assert list(gone_on.predict(X[:50])) == list(whole.predict(X[:50]))


def test_watching_changes_no_bit():
    assert fitted(watch=1.0).weights_sha256 == fitted(watch=False).weights_sha256


@pytest.mark.parametrize("loss", ["zero_one", "cross_entropy"])
def test_a_healthy_run_is_not_accused_and_what_is_not_seen_is_said(loss, at_once):
    run = fitted(loss, budget="300 steps", watch=0.5)
    assert run.record.metrics["train"]["accuracy"].value > 0.9
    diagnosis = tw.diagnose(run)
    assert [f.code for f in diagnosis.findings] == []
    assert any(one.missing == "gradients" and "evolution" in one.reason for one in diagnosis.unseen)
    history = run.record.facts
    assert history is not None
    assert history.optimizer is not None
    assert history.optimizer.name == "Evolution"


def test_the_resolved_knobs_are_in_the_record():
    resolved = fitted(budget="2 steps").record.resolved["algorithm"]
    assert resolved["population"] == 16
    assert resolved["sigma"] > 0
