"""`init_from`: the trunk of another model, checked before anything is written.

Its architecture and window are that model's. What is recorded of it says exactly which weights a
run began with; once the run has a checkpoint, the other model plays no part any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasbasset.inference.model import trunk_config
from atlasstore.errors import UserInputError
from atlasstore.models.model_store import ModelStore

if TYPE_CHECKING:
    from atlasbasset.core.config import TrunkConfig
    from atlasstore.atlas.atlas import Atlas

__all__ = ["StartTrunk"]

_FILE = "trunk.safetensors"


@dataclass(frozen=True, slots=True)
class StartTrunk:
    """A trunk to begin with."""

    model: str
    """URL of the model it is of."""
    checkpoint: str
    """URL of that model's newest checkpoint."""
    sha256: str
    """Of the checkpoint's trunk file."""
    config: TrunkConfig
    """The trunk's architecture."""

    @classmethod
    def of(cls, url: str) -> StartTrunk:
        """Open the model at `url` and read its trunk once.

        Raises
        ------
        NotAStoreError
            Nothing is there, it is no model, or its training has not finished an epoch.
        CorruptStoreError
            Its trunk is not what was written.
        """
        store = ModelStore.open(url)
        checkpoint = store.newest()
        checkpoint.tensors("trunk")  # bytes as written
        return cls(url, checkpoint.url, checkpoint.checksums[_FILE], trunk_config(store))

    def check_window(self, atlas: Atlas) -> None:
        """Raise UserInputError unless the atlas stores windows of the trunk's length."""
        if atlas.window_bp != self.config.window_bp:
            raise UserInputError(
                f"{self.model} reads windows of {self.config.window_bp} bp, but {atlas.url} has "
                f"{atlas.window_bp} bp; preprocess with --window-bp {self.config.window_bp}, or "
                "start without --init-from."
            )

    def check_same(self, recorded: dict[str, Any], out: str) -> None:
        """Raise UserInputError unless these are the weights that `out` was started with."""
        if self.sha256 != recorded["sha256"]:
            raise UserInputError(
                f"{self.model} was trained on since {out} was started with its trunk, and {out} "
                "has no checkpoint yet; delete it and start again, or give another --out."
            )

    def as_json(self) -> dict[str, str]:
        """Return the record of which weights they are."""
        return {"model": self.model, "checkpoint": self.checkpoint, "sha256": self.sha256}
