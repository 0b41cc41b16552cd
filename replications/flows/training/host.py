"""What a training asks of the program that runs it: random streams, a place for its state, an ear for its progress."""

from __future__ import annotations

from typing import Protocol

import torch


class Streams(Protocol):
    """Named random streams: the same name gives the same draws, however often it is asked for."""

    def torch_generator(self, stream: str, /) -> torch.Generator:
        """Return a stream from its start."""


class Host(Streams, Protocol):
    """The program that runs a training.

    Attributes:
        device: where the model is.
        key: tells this run from others; a state is taken over only from a run of the same key.
        resumed: how often this run went on from a state.
    """

    device: str
    resumed: int

    @property
    def key(self) -> str:
        """See the attributes."""

    def load_state(self, phase: str, /) -> bytes | None:
        """Return the state that was last saved in a phase of this run, None where there is none."""

    def save_state(self, phase: str, state: bytes, /) -> None:
        """Keep a state in place of the last one of the phase."""

    def note(self, text: str, /) -> None:
        """Hear of something that happened on the way and whoever reads the results should know."""

    def synchronize(self) -> None:
        """Wait until the device has finished what it was given, before a clock is read."""

    def progress(self, done: int, total: int, note: str, /) -> None:
        """Hear how far the training is; called at every iteration."""
