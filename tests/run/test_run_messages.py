"""Reading that is soon done is not told; what takes long is, now and then, to its end."""

import numpy as np
import pytest
from PIL import Image

import trainwright as tw
from trainwright.run import messages
from trainwright.run.messages import Loaded, Teller, Understood


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def told(seconds_each: float, num: int) -> list[Loaded]:
    clock, heard = Clock(), []
    with Teller(heard.append, clock) as tell:
        for done in range(num + 1):
            tell("files", done, num)
            clock.now += seconds_each
    return heard


def test_what_is_read_within_half_a_second_is_not_told():
    assert told(0.004, 100) == []


def test_what_takes_longer_is_told_ten_times_a_second_and_to_its_end():
    heard = told(0.01, 1000)
    assert heard[0] == Loaded(stage="files", done=50, total=1000, over=False)
    assert 80 < len(heard) <= 97
    assert [message.over for message in heard] == [False] * (len(heard) - 1) + [True]
    assert heard[-1].done == 1000


def test_each_stage_has_its_own_half_second():
    clock, heard = Clock(), []
    with Teller(heard.append, clock) as tell:
        for stage in ("rows_counted", "rows_encoded"):
            for done in (0, 1, 2, 3):
                tell(stage, done, 4)
                clock.now += 0.2
    stages = [(message.stage, message.done, message.over) for message in heard]
    assert stages == [
        ("rows_counted", 3, False), ("rows_counted", 3, True),
        ("rows_encoded", 3, False), ("rows_encoded", 3, True),
    ]  # fmt: skip


def test_reading_that_fails_ends_what_was_told():
    clock, heard = Clock(), []

    def fails() -> None:
        with Teller(heard.append, clock) as tell:
            tell("files", 0, 10)
            clock.now = 1.0
            tell("files", 3, 10)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert heard[-1] == Loaded(stage="files", done=3, total=10, over=True)


def test_a_run_on_a_folder_tells_its_listener_of_the_files_first(tmp_path, monkeypatch):
    monkeypatch.setattr(messages, "SOON_SECONDS", 0.0)
    random = np.random.default_rng(0)
    for index in range(40):
        place = tmp_path / "ab"[index % 2] / f"{index}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(place)
    heard = []
    tw.fit(str(tmp_path), budget="1 steps", recipe=None, listener=heard.append)
    first = [message for message in heard if isinstance(message, Loaded)]
    assert heard[: len(first)] == first
    assert first[0] == Loaded(stage="files", done=0, total=40, over=False)
    assert (first[-1].done, first[-1].over) == (40, True)
    assert isinstance(heard[len(first)], Understood)
