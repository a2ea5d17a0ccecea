"""Ctrl-C and SIGTERM, by which a user ends a run.

Snakemake handles SIGTERM in its main thread, where its scheduler may hold the lock that the handler
asks for (while it takes note of a job's end, or plans anew behind a checkpoint): the run then waits
for itself for ever. Here its handler runs in a thread of its own.
"""

import queue
import signal
import threading
from collections.abc import Callable
from typing import Any

_Handler = Callable[[int, Any], Any]
_stopped = False


def stopped() -> bool:
    """Whether the user has ended the run."""
    return _stopped


def watch_signals() -> None:
    """Notice Ctrl-C and SIGTERM from now on, and let what handled them before do so as well.

    Does nothing outside of the main thread, where signals cannot be handled.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        _handle(signal.SIGINT, handler)
    handler = signal.getsignal(signal.SIGTERM)
    if callable(handler):
        # Of all queues only this may be written to by a handler that interrupts itself.
        told: queue.SimpleQueue[int] = queue.SimpleQueue()
        threading.Thread(target=_pass_on, args=(told, handler), daemon=True).start()
        _handle(signal.SIGTERM, lambda number, frame: told.put(number))


def _handle(number: signal.Signals, handler: _Handler) -> None:
    def noted(number: int, frame: Any) -> Any:
        global _stopped
        _stopped = True
        return handler(number, frame)

    signal.signal(number, noted)


def _pass_on(told: "queue.SimpleQueue[int]", handler: _Handler) -> None:
    while True:
        handler(told.get(), None)
