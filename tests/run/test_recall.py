"""What a store kept becomes a history again, whoever told it."""

from trainwright.core.records import RunRecord
from trainwright.run.recall import recall
from trainwright.store.contract import Reading


def test_curves_of_our_loop_and_what_watch_told_beside_them_are_both_there():
    readings = [
        Reading(step=1, kind="told_train", values={"learning_rate": 0.1}),
        Reading(step=5, kind="train", values={"loss": 0.5}),
        Reading(step=5, kind="valid", values={"loss": 0.7}),
    ]
    _, history = recall(RunRecord(id="a-b-1", steps=5), readings)
    assert history.train["learning_rate"].values.tolist() == [0.1]
    assert history.train["loss"].values.tolist() == [0.5]
    assert history.valid["loss"].values.tolist() == [0.7]
    assert history.loss.values.tolist() == [0.5]
