"""A run's history for TensorBoard (`tensorboard --logdir RUN`), written without TensorBoard installed."""

from __future__ import annotations

import logging
from pathlib import Path

from tensorboardX import SummaryWriter

from mien.errors import reason
from mien_train.run.folder import Epoch

_log = logging.getLogger("mien")


class EventLog:
    """Adds each epoch to `folder`; a run that goes on overrules what a killed one wrote of the same epochs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: SummaryWriter | None = None
        self._broken = False

    def add(self, epoch: Epoch) -> None:
        """Write one epoch's figures; they are on disk when this returns. What cannot be written is said once."""
        if self._broken:
            return
        try:
            self._write(epoch)
        except OSError as error:
            self._broken = True
            _log.warning("%s: no more events for TensorBoard (%s)", self.folder, reason(error))

    def _write(self, epoch: Epoch) -> None:
        if self._writer is None:
            self._writer = SummaryWriter(str(self.folder), purge_step=epoch.epoch)
        for name, value in (
            ("loss/training", epoch.train_loss),
            ("loss/validation", epoch.validation_loss),
            ("accuracy/training_augmented", epoch.train_accuracy),
            ("accuracy/validation", epoch.validation_accuracy),
            ("accuracy/validation_without_repeats", epoch.clean_accuracy),
            ("learning_rate", epoch.learning_rate),
            ("seconds", epoch.seconds),
        ):
            self._writer.add_scalar(name, value, epoch.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Let go of the file."""
        if self._writer is not None:
            self._writer.close()
