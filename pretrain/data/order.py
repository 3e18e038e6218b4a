"""A random order that needs no memory: place i of a shuffle of any size, computed from a key.

A Feistel network is a permutation of all numbers of some bits whatever its round function is; numbers that
fall outside the wanted size are sent through again (cycle walking), which keeps it a permutation.
"""

from __future__ import annotations

from hashlib import blake2b

NUM_ROUNDS = 6  # 4 make a pseudo-random permutation (Luby and Rackoff 1988); small halves want more
MASK_64 = 2**64 - 1


class Permutation:
    """A permutation of 0 .. size - 1 that `key` chooses; `order[i]` is its value at i."""

    def __init__(self, size: int, key: str) -> None:
        assert size > 0
        self._size = size
        bits = (size - 1).bit_length()
        self._right_bits = bits - bits // 2  # the halves may differ by one: fewer walks
        self._left_mask = (1 << bits // 2) - 1
        self._right_mask = (1 << self._right_bits) - 1
        digest = blake2b(key.encode(), digest_size=8 * NUM_ROUNDS).digest()
        keys = [int.from_bytes(digest[8 * i : 8 * i + 8], "little") for i in range(NUM_ROUNDS)]
        self._round_keys = list(zip(keys[::2], keys[1::2], strict=True))

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, i: int) -> int:
        if not 0 <= i < self._size:
            raise IndexError(i)
        value = self._once(i)
        while value >= self._size:  # at most half of all numbers are outside, so a walk is short
            value = self._once(value)
        return value

    def _once(self, value: int) -> int:
        left, right = value >> self._right_bits, value & self._right_mask
        for left_key, right_key in self._round_keys:
            left ^= _mix(right ^ left_key) & self._left_mask
            right ^= _mix(left ^ right_key) & self._right_mask
        return left << self._right_bits | right


def _mix(value: int) -> int:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014): every bit depends on every bit."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK_64
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK_64
    return value ^ value >> 31
