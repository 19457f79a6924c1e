"""A model of the prefix cache of an inference engine: blocks of tokens, found by chained hashes.

As in vLLM's automatic prefix caching: a block is known by its own tokens and all before them, so a
prompt finds as many blocks as it has in common with what was read before, from its beginning on.
The blocks that were not used for longest go first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from hashlib import blake2b

BLOCK = 16  # tokens; vLLM's default


class PrefixCache:
    """The blocks that one worker keeps, of so many tokens."""

    def __init__(self, tokens: int) -> None:
        self._most = tokens // BLOCK
        self._blocks: OrderedDict[bytes, None] = OrderedDict()

    def read(self, prompt: Sequence[str]) -> int:
        """Read a prompt; of how many of its tokens the work had been done before."""
        found = 0
        is_known = True
        for name in _names(prompt):
            is_known = is_known and name in self._blocks
            found += is_known
            self._blocks[name] = None
            self._blocks.move_to_end(name)
            if len(self._blocks) > self._most:
                self._blocks.popitem(last=False)
        return found * BLOCK


def _names(prompt: Sequence[str]) -> Iterator[bytes]:
    """The names of the whole blocks of a prompt; what is over at its end is none."""
    name = b""
    for start in range(0, len(prompt) - BLOCK + 1, BLOCK):
        text = "\0".join(prompt[start : start + BLOCK])
        name = blake2b(name + text.encode(), digest_size=16).digest()
        yield name
