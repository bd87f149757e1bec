"""Fuzzing of every reader: ``python test/fuzz.py --minutes 10`` or ``make fuzz``.

Each reader runs in a process of its own. A finding is an input that ends the process, takes more memory or time than
allowed, or raises anything but an error of this package (or an OSError) that names the input. Findings are written to
``fuzz_findings``, with the command that repeats them. Equal numbers give equal inputs.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

MEGABYTES = 500
"""Memory that an input may take beyond what the reader takes for valid ones."""
SECONDS = 2.0
"""CPU time that an input may take."""
HANGS = 60.0
"""Seconds after which an input is given up."""
_AGAIN = 3
"""Exit code of a worker that wants to be replaced."""
_ADDRESSES = 24 * 2**30
"""Bytes of addresses that a worker may take, so that it cannot take all memory of the machine."""


def main(arguments: list[str] | None = None) -> int:
    """Fuzzes all readers, or those that are named; returns 1 if there are findings."""
    os.environ["OMP_NUM_THREADS"] = "1"
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("readers", nargs="*", help="names of readers; default: all")
    parser.add_argument("--minutes", type=float, default=10, help="time for all readers together")
    parser.add_argument("--count", type=int, default=100_000, help="inputs of a reader at most")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--findings", type=Path, default=Path("fuzz_findings"), help="folder for what was found")
    parser.add_argument("--list", action="store_true", help="print the names of the readers")
    args = parser.parse_args(arguments)
    from fuzz_readers import READERS

    names = args.readers or list(READERS)
    if args.list or (unknown := [name for name in names if name not in READERS]):
        print("\n".join(READERS) if args.list else f"no such reader: {', '.join(unknown)}")
        return 0 if args.list else 2
    end, found = time.monotonic() + 60 * args.minutes, 0
    for number, name in enumerate(names):
        seconds = (end - time.monotonic()) / (len(names) - number)
        count, findings = fuzz(name, seconds, args.count, args.findings, args.first)
        print(f"{name}: {count} inputs, {len(findings)} findings", flush=True)
        for text in findings:
            print(f"  {text}", flush=True)
        found += len(findings)
    return 1 if found else 0


def fuzz(name: str, seconds: float, count: int, folder: Path, first: int = 0) -> tuple[int, list[str]]:
    """Fuzzes one reader.

    Args:
        name: a key of ``READERS``.
        seconds: time after which no further input is tried.
        count: inputs at most.
        folder: where inputs with findings are kept.
        first: number of the first input.

    Returns:
        The number of inputs tried, and one line for each kind of finding.
    """
    end, at, findings = time.monotonic() + seconds, first, {}
    with _scratch() as scratch:
        state = Path(scratch) / "state"
        while at < first + count and (at == first or time.monotonic() < end):
            state.write_text(str(at))
            worker = multiprocessing.get_context("fork").Process(
                target=_work, args=(name, at, first + count - at, Path(scratch))
            )
            worker.start()
            reason = _watch(worker, state, end)
            last = int(state.read_text().split()[0])
            for file in Path(scratch).glob("finding_*.json"):
                kind = json.loads(file.read_text())
                _keep(findings, folder, name, kind["kind"], kind["number"], Path(kind["input"]), kind["trace"])
                file.unlink()
            if reason == "end":
                at = last + 1
                break
            if reason:
                output = (Path(scratch) / "output").read_text(errors="replace")[-4000:]
                _keep(findings, folder, name, reason, last, Path(scratch) / "input", output)
            at = last + 1
    return at - first, [f"{kind} (input {number}, {times} times)" for kind, (number, times) in findings.items()]


def _watch(worker: multiprocessing.process.BaseProcess, state: Path, end: float) -> str:
    """Waits for a worker; returns why it ended, empty if it is done or asked for a new process."""
    last, since = "", time.monotonic()
    while worker.is_alive():
        worker.join(0.02)
        if (now := state.read_text()) != last:
            last, since = now, time.monotonic()
        is_running = "running" in last
        limit = HANGS if is_running else 10 * HANGS  # the start takes longer
        if time.monotonic() > end and is_running:
            worker.kill()
            worker.join()
            return "end"
        if time.monotonic() - since > limit:
            worker.kill()
            worker.join()
            return f"no end within {limit:g} s"
    code = worker.exitcode or 0
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return "" if code in (0, _AGAIN) else f"ended with exit code {code}"


def _keep(
    findings: dict[str, tuple[int, int]], folder: Path, name: str, kind: str, number: int, data: Path, output: str = ""
) -> None:
    """Keeps the first input of each kind of finding."""
    if kind in findings:
        findings[kind] = findings[kind][0], findings[kind][1] + 1
        return
    findings[kind] = number, 1
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name}_{number}_{hashlib.sha256(kind.encode()).hexdigest()[:6]}"
    if data.exists():
        shutil.copy(data, folder / f"{stem}.bin")
    repeat = f"python test/fuzz.py {name} --first {number} --count 1"
    (folder / f"{stem}.txt").write_text(f"{kind}\n{repeat}\n{output}\n")


def inputs(name: str, folder: Path, first: int, count: int) -> Iterator[tuple[int, object, bytes]]:
    """Yields number, seed and content of the damaged inputs; consecutive inputs use the same seed for a while."""
    from fuzz_mutations import mutated
    from fuzz_readers import READERS

    seeds = list(READERS[name](folder))
    valid = {seed.file: seed.file.read_bytes() for seed in seeds}
    for seed in seeds:  # what is refused from the start would hide the code behind the refusal
        error = read(seed)
        if bool(error) != bool(seed.refusal) or seed.refusal not in str(error):
            raise RuntimeError(f"the undamaged {seed.file} is not read as it should be") from error
    for number in range(first, first + count):
        seed = seeds[number // 20 % len(seeds)]
        rng = random.Random(f"{name} {number}")
        yield number, seed, mutated(valid[seed.file], rng, tuple(valid.values()))


def read(seed) -> BaseException | None:
    """Reads an input; returns what was raised."""
    try:
        seed.read()
    except Exception as error:
        return error
    return None


def problem(seed, error: BaseException | None) -> str:
    """Returns what is wrong with the error that an input caused; empty if it is a proper refusal, or none."""
    if error is None or isinstance(error, OSError):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "wildhands_ros" in frame.filename] or frames
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}"
    if not type(error).__module__.startswith("wildhands_ros") or not isinstance(error, ValueError):
        return f"{type(error).__name__} in {place}"
    text = str(error)
    if not any(name in text for name in seed.names or (seed.file.name,)):
        return f"{type(error).__name__} in {place} does not name its input"
    return f"{type(error).__name__} in {place} has a very long message" if len(text) > 3000 else ""


def _work(name: str, first: int, count: int, folder: Path) -> None:
    """Tries inputs in this process, and writes its state and its findings to a folder."""
    os.setsid()
    faulthandler.disable()
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):  # decoders write about damage to them
        os.dup2(output, stream)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
    with _scratch() as scratch:
        state = os.open(folder / "state", os.O_WRONLY)
        usual = 0
        for number, seed, data in inputs(name, Path(scratch), first, count):
            usual = usual or _memory()
            valid = seed.file.read_bytes()
            os.pwrite(state, f"{number} running\n".encode(), 0)
            (folder / "input").write_bytes(data)
            seed.file.write_bytes(data)
            start = time.process_time()
            error = read(seed)
            seconds, megabytes = time.process_time() - start, (_memory() - usual) / 1024
            kind = problem(seed, error)
            if not kind and seconds > SECONDS:
                kind = f"takes more than {SECONDS:g} s (of {seed.file.name})"
            if megabytes > MEGABYTES:
                kind = f"takes more than {MEGABYTES} MB (of {seed.file.name})"
            seed.file.write_bytes(valid)
            if kind:
                copy = folder / f"input_{number}"
                copy.write_bytes(data)
                values = {"kind": kind, "number": number, "input": str(copy), "trace": _trace(error)}
                (folder / f"finding_{number}.json").write_text(json.dumps(values))
            if megabytes > MEGABYTES:
                os._exit(_AGAIN)  # the highest memory of a process never falls


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """Returns a folder in memory if there is one: each input is written to two files, and a disk takes milliseconds."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)


def _trace(error: BaseException | None) -> str:
    return "" if error is None else "".join(traceback.format_exception(error))[-4000:]


def _memory() -> int:
    """Highest memory of this process so far, in kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
