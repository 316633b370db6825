"""Where does randomness come from? Every stream has a name and is derived from the recipe's one
seed, so that a stream can be replayed from any point without the draws before it."""

import hashlib

Part = str | int


def derive(seed: int, *parts: Part) -> int:
    """A 63-bit seed for the stream named by `parts`, e.g. derive(0, "order", epoch).

    The same in every process, on every machine and Python (blake2b, not `hash`).
    """
    text = "\x1f".join([str(seed), *map(str, parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
