"""Damage as disks, networks and attackers do it to a file."""

from __future__ import annotations

from random import Random

_NUMBERS = (bytes(4), b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\0\1", b"\xff\xff")
_HEADS = (64, 256, 2_000, 10**9)  # bytes from the start, where most of what a file says of itself stands


def mutate(data: bytes, chance: Random) -> bytes:
    """Return a file with one to eight changes: bits, bytes, numbers, pieces that are gone, doubled, moved or new."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        at = chance.randrange(max(1, min(len(changed), chance.choice(_HEADS))))
        length = chance.choice((1, 4, 12, 100, 1_000))
        piece = bytes(changed[at : at + length])
        other = chance.randrange(len(changed) + 1)
        number = chance.choice(_NUMBERS)
        match chance.randrange(7):
            case 0:
                changed[at : at + 1] = bytes(byte ^ 1 << chance.randrange(8) for byte in piece[:1])
            case 1:
                changed[at : at + len(number)] = number
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = piece
            case 4:
                changed[at : at + length] = changed[other : other + length]
            case 5:
                changed[at:at] = chance.randbytes(length)
            case 6:
                del changed[other:]
    return bytes(changed)
