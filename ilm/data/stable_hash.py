"""Hashes that are the same on every machine and in every version of every library; polars' own `.hash` is not."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def hash_texts(texts: Sequence[str]) -> NDArray[np.uint64]:
    """64 bits of BLAKE2b per text, [n]. A Python loop: call it on distinct ids, not on every row."""
    joined = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(joined, dtype="<u8").astype(np.uint64)


def combine(*parts: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One well-mixed 64-bit number per row from parallel arrays [n]; the order of the arguments matters."""
    mixed = np.zeros_like(parts[0])
    for part in parts:
        mixed = _splitmix(mixed ^ part)
    return mixed


def _splitmix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's step and finaliser (Steele, Lea, Flood 2014), elementwise; wraps around at 2^64."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
