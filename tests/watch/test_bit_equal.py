"""Whatever is watched, weights, buffers and random streams end as they do without watching."""

import numpy as np
import pytest
import torch
from watch.programs import PROGRAMS, unwatched

from trainwright.watch.watcher import Watcher

# what short steps make a watcher do without
ECONOMIES = {"flight recorder", "loss of every step"}
WITHOUT_OPTIMIZER = {"optimizer"}


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_weights_and_random_streams_are_bit_equal_with_and_without_watching(name):
    program = PROGRAMS[name]
    kept = []

    def watching(model, optimizer, **options):
        kept.append(Watcher(model, optimizer, **options))
        return kept[-1]

    torch.manual_seed(0)
    expected = program(unwatched)
    torch.manual_seed(0)
    found = program(watching)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    watcher = kept[0]
    history = watcher.history()
    by_hand = WITHOUT_OPTIMIZER if name.startswith("by_") else set()
    assert by_hand <= set(watcher.unseen) <= ECONOMIES | by_hand, dict(watcher.unseen)
    assert len(history.steps) >= 6
    assert history.layers
    assert np.isfinite(history.by_step["loss"]).all()
    assert np.isfinite(history.by_step["gradient_norm_all"]).all()
    assert np.isfinite(history.by_layer["weight_norm"][1:, -1]).all()
