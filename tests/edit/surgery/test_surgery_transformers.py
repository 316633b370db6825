"""Networks of the package `transformers`, where it is installed."""

import pytest
import torch
from surgery_patients import MASK, TOKENS
from torch import nn

from trainwright.edit.surgery.activation import replace_activation
from trainwright.edit.surgery.dropout import insert_dropout, set_dropout
from trainwright.edit.surgery.initial import initialise, reset_weights
from trainwright.edit.surgery.norm import insert_norm
from trainwright.edit.surgery.observe import observe
from trainwright.edit.surgery.optimizer import prove_whole
from trainwright.edit.surgery.record import fingerprint

transformers = pytest.importorskip("transformers")
BATCH = {"input_ids": TOKENS, "attention_mask": MASK}


def bert():
    return transformers.BertModel(transformers.BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=16,
    ))  # fmt: skip


def gpt2():
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2, n_positions=16)
    )


OPERATIONS = {
    "norm": lambda m, a: insert_norm(m, a, "layer"),
    "activation": lambda m, a: replace_activation(m, a, new="relu"),
    "dropout": lambda m, a: insert_dropout(m, a, 0.3),
    "rate": lambda m, a: set_dropout(m, a, 0.5),
    "he": lambda m, a: initialise(m, a, "he"),
    "lsuv": lambda m, a: initialise(m, a, "lsuv", batch=BATCH),
    "fresh": lambda m, a: reset_weights(m, 1),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("build", [bert, gpt2])
def test_an_operation_trains_and_is_undone(build, operation):
    model: nn.Module = build().train()
    was = fingerprint(model)
    edited = OPERATIONS[operation](model, observe(model, [BATCH]))
    optimizer = torch.optim.Adam(model.parameters())
    prove_whole(model, (BATCH, TOKENS), lambda o, t: o[0].square().mean(), optimizer)
    edited.undo()
    assert fingerprint(model) == was
