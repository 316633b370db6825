"""Which module do these knobs ask for? A built-in network with weights from the seed alone."""

import torch
from torch import nn

from trainwright.core.records import Signature
from trainwright.core.seeds import derive
from trainwright.model.bag import TokenCounts, build_bag
from trainwright.model.convnet import build_convnet
from trainwright.model.knobs import ModelKnobs
from trainwright.model.mlp import build_linear, build_mlp
from trainwright.model.recurrent import build_recurrent
from trainwright.model.resolve import resolve


def build(knobs: ModelKnobs, signature: Signature, num_outputs: int, seed: int) -> nn.Module:
    """The network, called as model(*inputs) -> [batch, num_outputs], or with several members
    [batch, member, num_outputs].

    The same seed gives the same weights whatever was drawn before; the global random state is
    left as it was. Raises ModelError.
    """
    resolved = resolve(knobs, signature)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "init"))
        match resolved.name:
            case "linear" if signature.kind == "text":
                return TokenCounts(signature.vocabulary, num_outputs)
            case "linear":
                return build_linear(resolved, signature, num_outputs)
            case "convnet":
                return build_convnet(resolved, signature, num_outputs)
            case "bag":
                return build_bag(resolved, signature, num_outputs)
            case "rnn":
                return build_recurrent(resolved, signature, num_outputs)
            case _:
                return build_mlp(resolved, signature, num_outputs)
