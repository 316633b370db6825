"""Mixtures and noisy copies are drawn anew in each batch, from the program's seed, and only where
inputs are numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.edit.programs import adam, program
from trainwright.edit.augment import augmented_loss
from trainwright.edit.catalogue import edits
from trainwright.edit.edit import Context, NotApplicable
from trainwright.edit.loop import train


def small():
    return program(optimizer=adam)


@pytest.mark.parametrize("name", ["mixup", "add_noise"])
def test_it_changes_training_alike_for_the_same_seed_and_not_the_judging(name):
    given = small()
    edited = edits()[name].apply(given, Context())
    first, again, plain = (train(p, 3, steps=20) for p in (edited, edited, given))
    assert np.array_equal(first.losses, again.losses)
    assert not np.array_equal(first.losses, plain.losses)
    assert edited.judged is given.judged
    assert edited.done[-1].lines


@pytest.mark.parametrize("name", ["mixup", "add_noise"])
def test_it_changes_nothing_twice_and_refuses_inputs_that_are_no_numbers(name):
    edited = edits()[name].apply(small(), Context())
    with pytest.raises(NotApplicable, match="so already"):
        edits()[name].apply(edited, Context())
    whole = small()
    tokens = replace(whole, train=replace(whole.train, inputs=(torch.zeros(8, 4).long(),)))
    with pytest.raises(NotApplicable, match="no real numbers"):
        edits()[name].apply(tokens, Context())


def test_mixing_a_squared_error_is_mixing_the_targets_but_for_a_constant():
    """s (o - a)^2 + (1 - s) (o - b)^2 = (o - (s a + (1 - s) b))^2 + s (1 - s) (a - b)^2: the same
    gradient, worked out by hand."""
    given = small()
    x = torch.randn(6, 3)
    y = torch.randn(6, 1)
    model = torch.nn.Linear(3, 1)
    mixing = replace(given, loss=torch.nn.MSELoss()).turned(mixup=0.4)
    batch = replace(given.train, inputs=(x,), targets=y, numbers=None)
    torch.manual_seed(5)
    augmented_loss(mixing, model, batch).backward()
    found = model.weight.grad.clone()
    torch.manual_seed(5)
    share = float(torch.distributions.Beta(0.4, 0.4).sample())
    order = torch.randperm(6)
    model.zero_grad()
    mixed = share * y + (1 - share) * y[order]
    ((model(share * x + (1 - share) * x[order]) - mixed) ** 2).mean().backward()
    assert torch.allclose(found, model.weight.grad, atol=1e-6)
