"""The work itself, the same on every side: write so many bytes, read to the end, in blocks or in lines of text.

A body that runs in a node of ours runs in a fork made by hand, too; only what stands between them differs. The two
texts are Python source because one side runs them by `python -c` and the other as `run:` of a node.
"""

from __future__ import annotations

import os

BLOCK = bytes(65536)
READ_BYTES = 1 << 20
LINE_BYTES = 100

WRITE_LINES = """
line = "x" * {text}
for _ in range({lines}):
    print(line)
"""
READ_LINES = """
import sys
count = 0
for line in sys.stdin:
    count += 1
return {{"count": count}}
"""


def write_blocks(fd: int, amount: int) -> bool:
    """`amount` bytes, 64 KiB to a `write`."""
    left = amount
    while left:
        left -= os.write(fd, BLOCK[: min(left, len(BLOCK))])
    return True


def read_blocks(fd: int) -> int:
    """How many bytes came until the end, up to 1 MiB to a read, into memory that is there."""
    buffer, count = bytearray(READ_BYTES), 0
    while True:
        got = os.readv(fd, [buffer])
        if got == 0:
            return count
        count += got
