"""What a family of word problems is made of, and the names of the people in them.

The hero and the friend of a story are a boy and a girl, so that "he" and "she" are never ambiguous.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tools_shared.demo.story import Move

BOYS = tuple(
    "Tom Ben Sam Leo Max Adam Omar Luis Ravi Noah Ivan Carl Hugo Finn Jack Theo Yusuf Kenji Paul Marco".split()
)
GIRLS = tuple(
    "Ann Mia Zoe Eva Lily Sara Nina Rosa Amy Ella Ruth Leila Hana Jane Tara Maya Olga Ines Lucy Clara".split()
)


@dataclass(frozen=True)
class Family:
    """`starts` state the quantity, `moves` change it, `ends` ask for something computed from it.

    `ask` asks for the quantity as it is, `unit` is its name in the reasoning, and `words` fill further blanks
    of the sentences; each is chosen once for a story.
    """

    name: str
    unit: str
    starts: tuple[Move, ...]
    moves: tuple[Move, ...]
    ends: tuple[Move, ...]
    ask: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
