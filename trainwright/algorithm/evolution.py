"""Which way is down when nothing can be differentiated? A gradient estimated from the losses of
slightly changed weights, by their ranks alone."""

import torch
from jaxtyping import Float
from torch import Tensor


class Evolution(torch.optim.Adam):
    """Adam on an estimated gradient, under a name of its own: what is customary for gradients is
    not for estimates."""


def centred_ranks(losses: Float[Tensor, " member"]) -> Float[Tensor, " member"]:
    """Ranks of the losses from -0.5 (the least) to 0.5, equal losses sharing their mean rank; a
    loss that is not a number counts as the worst. A single one has the rank 0.

    Only the order matters, so that one wild loss cannot drown the others. Shared ranks: on few
    examples the 0-1 loss has few values, and broken ties would be noise.
    Source: Salimans et al. 2017, arXiv:1703.03864, section 2 (fitness shaping); Wierstra et al.
    2014, Natural Evolution Strategies, section 3.1.
    """
    known = torch.nan_to_num(losses, nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    less = (known < known[:, None]).sum(dim=1)
    equal = (known == known[:, None]).sum(dim=1)
    twice = (2 * less + equal - 1).to(losses.dtype)  # the mean rank, from 0
    return twice / (2 * (len(losses) - 1)) - 0.5 if len(losses) > 1 else twice


def estimated_gradient(
    directions: Float[Tensor, "pair parameter"],
    above: Float[Tensor, " pair"],
    below: Float[Tensor, " pair"],
    sigma: float,
) -> Float[Tensor, " parameter"]:
    """The slope of the losses along random directions, as a gradient by the parameters.

    `above` and `below`: losses at theta + sigma e and theta - sigma e for each direction e, as
    ranks r: g = sum over pairs of (r_above - r_below) e / (2 pairs sigma). Its direction is that
    of the loss's gradient, blurred over sigma; its length is of ranks, not of losses.
    Source: Salimans et al. 2017, arXiv:1703.03864, algorithm 1, with mirrored directions.
    """
    ranks = centred_ranks(torch.cat([above, below]))
    count = len(directions)
    slopes = (ranks[:count] - ranks[count:]).to(directions.dtype)
    return slopes @ directions / (2 * count * sigma)
