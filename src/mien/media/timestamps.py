"""Presentation stamps -> time that does not go back, whatever a damaged file or a restarted sender writes."""

from __future__ import annotations

BACK_S = 0.5
"""Stamps that go back by less are frames out of order; by more, the sender's clock has been set anew."""

JUMP_S = 10.0
"""Live stamps that go forward by so much more than the clock are not believed."""

MAX_STEP_S = 1.0
"""Most that a file's time goes on where its stamps begin anew."""


class Timeline:
    """Turns stamps into time, in seconds from 0 on, frame by frame.

    Attributes:
        time_s: of the last frame.
        gone_back_s: how far back the last stamp went, if it was that of a clock set anew, else 0.
    """

    def __init__(self, first_s: float = 0.0) -> None:
        self.time_s = 0.0
        self.gone_back_s = 0.0
        self._offset_s: float | None = first_s
        self._step_s = 0.0
        self._arrived_s: float | None = None

    def of_file(self, stamp_s: float | None) -> float:
        """The time of a recording's next frame: its stamp, or where stamps begin anew, one step later."""
        self.gone_back_s = 0.0
        if stamp_s is None:
            return self.time_s
        time_s = stamp_s - (self._offset_s or 0.0)
        if time_s < self.time_s - BACK_S:
            self.gone_back_s = self.time_s - time_s
            time_s = self.time_s + self._step_s
            self._offset_s = stamp_s - time_s
        elif time_s > self.time_s:
            self._step_s = min(time_s - self.time_s, MAX_STEP_S)
        self.time_s = max(self.time_s, time_s)
        return self.time_s

    def of_live(self, stamp_s: float | None, arrived_s: float) -> float:
        """The time of a live frame: by its stamp if that fits the clock, else by the clock, `arrived_s` in seconds."""
        passed_s = 0.0 if self._arrived_s is None else arrived_s - self._arrived_s
        by_clock = self._arrived_s is None or stamp_s is None or self._offset_s is None
        time_s = self.time_s + passed_s
        if not by_clock and stamp_s is not None and self._offset_s is not None:
            step_s = stamp_s - self._offset_s - self.time_s
            by_clock = not -BACK_S <= step_s <= passed_s + JUMP_S
            time_s = time_s if by_clock else self.time_s + step_s
        if by_clock:
            self._offset_s = None if stamp_s is None else stamp_s - time_s
        self._arrived_s = arrived_s
        self.time_s = max(self.time_s, time_s)
        return self.time_s

    def reconnect(self) -> None:
        """The next live stamp belongs to another connection: it says nothing about how long the break was."""
        self._offset_s = None
