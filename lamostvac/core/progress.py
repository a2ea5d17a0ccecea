"""Progress of a long loop, in the log."""

import logging
import time


class Progress:
    """Count, rate and remaining time of a loop, written to a log at most every few seconds.

    Use as `progress = Progress(log, total=n, unit="spectra")`, `progress.add(k)` per step and
    `progress.done()` at the end. The rate is over the whole loop so far.
    """

    def __init__(
        self, log: logging.Logger, total: int, unit: str, every_seconds: float = 10.0
    ) -> None:
        self.log = log
        self.total = total
        self.unit = unit
        self.every_seconds = every_seconds
        self.count = 0
        self._start = self._last = time.monotonic()

    def add(self, n: int = 1) -> None:
        """Count `n` more units as done."""
        self.count += n
        now = time.monotonic()
        if now - self._last >= self.every_seconds and self.count < self.total:
            self._last = now
            rate = self.count / (now - self._start)
            remaining = _duration((self.total - self.count) / rate) if rate > 0 else "unknown time"
            share = 100 * self.count / self.total
            self.log.info(
                "%d of %d %s (%.0f %%), %s/s, %s left",
                self.count,
                self.total,
                self.unit,
                share,
                f"{rate:,.3g}",
                remaining,
            )

    def done(self) -> None:
        """Write the total and the mean rate."""
        elapsed = max(time.monotonic() - self._start, 1e-9)
        self.log.info(
            "%d %s in %s (%s/s)",
            self.count,
            self.unit,
            _duration(elapsed),
            f"{self.count / elapsed:,.3g}",
        )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
