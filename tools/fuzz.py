"""Gives every reader files that are almost right, and counts what it does with them.

    python tools/fuzz.py --minutes 60                   as `make fuzz`, into results/fuzz
    python tools/fuzz.py --inputs 200 --real none       the same number of inputs for each reader
    python tools/fuzz.py --replay tests/fuzz_corpus     what was found before
    python tools/fuzz.py --readers hdf5 --first 1234 --inputs 1      one input again

Inputs are valid files, real ones (--real, by default $LAMOSTVAC_REAL_DATA) and simulated ones, with bytes and structure
changed (`fuzz_mutations.py`); number n of a reader is the same in every run on the same files. Each reader
(`fuzz_readers.py`) runs in a process of its own with a limit on memory, and on the processor's time for each input.
Right is a sentence (`UserError`, `SpectrumRejected`) or a finite result. Findings are everything else: another
exception, a sentence of several lines, a result that is not finite, too much memory, no end, a crash. They are kept
in the output's folder `findings`; the exit status says whether there were any.
"""

import argparse
import csv
import gzip
import hashlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

READERS = ("spectrum", "text_table", "fits_table", "catalogue", "library", "hdf5", "configuration")
OUTCOMES = ("rejected", "accepted", "exception", "not_finite", "memory", "hang", "crash")
_MEMORY = 6 << 30  # bytes of address space of a reader's process, 2 of them for its libraries
_CPU = 30.0  # seconds of the processor for one input
_WALL = 300.0  # seconds for one input that waits for something
_LONGEST = 10_000  # characters of a sentence, which may repeat a cell of the file
_LARGEST_FINDING = 200_000  # bytes


# ---------------------------------------------------------------- the process of a reader


def work(reader: str) -> None:
    """Read the files whose paths come in, and say of each what happened."""
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    import warnings

    from fuzz_readers import READERS as functions

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    for line in sys.stdin:
        # SIGPROF ends the process; the time of a busy machine does not count.
        signal.setitimer(signal.ITIMER_PROF, _CPU)
        outcome, detail = read(functions[reader], Path(line.rstrip("\n")))
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(json.dumps([outcome, detail, peak_memory()]) + "\n")
        answers.flush()


def peak_memory() -> int:
    """Peak resident memory, KiB; `ru_maxrss` would include that of the process that started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def read(function: Any, path: Path) -> tuple[str, str]:
    """What a reader does with a file."""
    from fuzz_readers import NotFinite

    from lamostvac.core.exceptions import UserError
    from lamostvac.core.rejection import SpectrumRejected

    try:
        function(path)
    except (UserError, SpectrumRejected) as sentence:
        text = str(sentence)
        if not text.strip() or "\n" in text or len(text) > _LONGEST:
            return "exception", f"a sentence of {len(text)} characters: {text[:300]!r}"
        return "rejected", getattr(sentence, "reason", "sentence")
    except NotFinite as what:
        return "not_finite", str(what)
    except MemoryError:
        return "memory", traceback.format_exc(limit=-3)
    except BaseException:
        return "exception", traceback.format_exc(limit=-6)
    return "accepted", ""


class Process:
    """A reader's process, started again after each end."""

    def __init__(self, reader: str) -> None:
        self.reader, self.peak = reader, 0
        self.process: subprocess.Popen[str] | None = None

    def read(self, path: Path) -> tuple[str, str]:
        """Outcome and detail of one file."""
        if self.process is None:
            command = [sys.executable, __file__, "--work", self.reader]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        if select.select([process.stdout], [], [], _WALL)[0] and (
            answer := process.stdout.readline()
        ):
            outcome, detail, peak = json.loads(answer)
            self.peak = max(self.peak, peak)
            return str(outcome), str(detail)
        hung = process.poll() is None and process.stdout.readable() and not self._ended(process)
        self.close()
        number = -(process.returncode or 0)
        if hung or number == signal.SIGPROF:
            return "hang", f"no answer after {_CPU:g} s of the processor or {_WALL:g} s"
        return "crash", f"ended by signal {number}"

    @staticmethod
    def _ended(process: "subprocess.Popen[str]") -> bool:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    stream.close()
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self.process = None


# ---------------------------------------------------------------- inputs and counts


@dataclass
class Result:
    """Counts of a reader's outcomes, and its findings by their kind."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    findings: dict[str, str] = field(default_factory=dict)  # kind -> name of the file
    peak: int = 0  # KiB


def kind_of(outcome: str, detail: str) -> str:
    """What findings of the same cause have in common: the exception and the line that raised it."""
    lines = detail.splitlines()
    places = [number for number, line in enumerate(lines) if line.startswith("  File ")]
    if not places:
        return f"{outcome} {detail[:80]}"
    error = next((line for line in lines[places[-1] :] if line[:1].strip()), "")
    return f"{outcome} {error.partition(':')[0]} {lines[places[-1]].strip()}"


def inputs(reader: str, files: list[tuple[str, bytes]], first: int) -> Iterator[tuple[str, bytes]]:
    """Numbered inputs of a reader without end; the first round has the valid files themselves."""
    from fuzz_mutations import mutated

    number = first
    while True:
        name, data = files[number % len(files)]
        if number >= len(files):
            data = mutated(np.random.default_rng([READERS.index(reader), number]), reader, data)
        yield name, data
        number += 1


def fuzz(
    reader: str,
    files: list[tuple[str, bytes]],
    count: int | None,
    seconds: float,
    first: int,
    output: Path,
) -> Result:
    """Give a reader a number of inputs, or as many as it takes in some time."""
    result, process = Result(), Process(reader)
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, data) in enumerate(inputs(reader, files, first), start=first):
            if number - first == count or (count is None and time.monotonic() > end):
                break
            path = Path(folder) / name
            path.write_bytes(data)
            take(result, process, path, f"{reader} {number}", output / "findings" / reader)
            path.unlink()
    result.peak = process.peak
    process.close()
    return result


def take(result: Result, process: Process, path: Path, where: str, findings: Path) -> None:
    """Read a file, count what happens, and keep the first of each kind of finding."""
    outcome, detail = process.read(path)
    result.counts[outcome] += 1
    if outcome == "rejected":
        result.reasons[detail] += 1
    if outcome in ("rejected", "accepted"):
        return
    kind = kind_of(outcome, detail)
    if kind not in result.findings:
        data = path.read_bytes()
        print(f"{where}: {kind}\n{detail}", flush=True)
        result.findings[kind] = keep(data, path.name, findings, f"{where}: {kind}\n{detail}")


def keep(data: bytes, name: str, folder: Path, text: str) -> str:
    """Write a finding as a small file: packed where that is how its reader reads it too."""
    folder.mkdir(parents=True, exist_ok=True)
    if len(data) > 20_000 and data[:2] != b"\x1f\x8b" and not name.endswith((".h5", ".yaml")):
        data, name = gzip.compress(data, mtime=0), f"{name.removesuffix('.gz')}.gz"
    base, packed = name.removesuffix(".gz"), ".gz" if name.endswith(".gz") else ""
    stem, _, rest = base.rpartition(".")
    path = folder / f"{stem[:30]}_{hashlib.sha256(data).hexdigest()[:10]}.{rest}{packed}"
    if len(data) <= _LARGEST_FINDING:
        path.write_bytes(data)
    path.with_name(path.name + ".log").write_text(text)
    return path.name


def replay(folder: Path, output: Path) -> dict[str, Result]:
    """Read every file of a corpus, `folder/{reader}/`."""
    results = {}
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        result, process = Result(), Process(place.name)
        for path in sorted(place.iterdir()):
            take(result, process, path, str(path), output / "findings" / place.name)
        result.peak = process.peak
        process.close()
        results[place.name] = result
    return results


def table(results: dict[str, Result]) -> list[list[str]]:
    """Names of the columns, and a row for each reader and for all."""
    total = Result(Counter(), peak=max((one.peak for one in results.values()), default=0))
    for one in results.values():
        total.counts.update(one.counts)
    rows = [["reader", "tried", *OUTCOMES, "peak_mb"]]
    for name, one in {**results, "all": total}.items():
        counts = [sum(one.counts.values()), *(one.counts[outcome] for outcome in OUTCOMES)]
        rows.append([name, *map(str, counts), f"{one.peak / 1024:.0f}"])
    return rows


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="for all readers together")
    parser.add_argument("--inputs", type=int, help="for each reader, instead of a time")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument(
        "--real", default=os.environ.get("LAMOSTVAC_REAL_DATA", "none"), help="folder, or none"
    )
    parser.add_argument("--replay", type=Path, help="folder of files that were found before")
    parser.add_argument("--output", type=Path, default=Path("results/fuzz"))
    parser.add_argument("--work", choices=READERS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.work:
        work(given.work)
        return
    if given.replay:
        results = replay(given.replay, given.output)
    else:
        from fuzz_inputs import real, simulated

        files = simulated()
        if given.real != "none" and Path(given.real).is_dir():
            for reader, more in real(Path(given.real)).items():
                files[reader] = [*more, *files[reader]]
        seconds = 60 * given.minutes / len(given.readers)
        results = {
            reader: fuzz(reader, files[reader], given.inputs, seconds, given.first, given.output)
            for reader in given.readers
        }
    rows = table(results)
    given.output.mkdir(parents=True, exist_ok=True)
    with open(given.output / "counts.csv", "w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    for row in rows:
        print("  ".join(f"{cell:>13}" for cell in row))
    if any(one.findings for one in results.values()):
        print(f"Findings are in {given.output / 'findings'}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
