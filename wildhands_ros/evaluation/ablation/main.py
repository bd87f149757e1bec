"""Implements ``wildhands ablate``: trains and tests every variant with several seeds; an interrupted run can be
continued."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from ... import versions
from ...io.cache_key import cache_key
from ...io.files import OutputFile
from .features import FeatureRequest, load_features, make_features
from .results import markdown, rows_of
from .training import TrainingSet, measure, train
from .variants import VARIANTS, Variant, View

_FULL_MINUTES = 60


@dataclass(frozen=True)
class AblationSize:
    """How large the runs are."""

    train_pictures: int
    """Training images of each world."""
    test_pictures: int
    """Test images of each world."""
    steps: int
    """Optimisation steps."""

    @classmethod
    def for_minutes(cls, minutes: float) -> AblationSize:
        """Choose the size that two cores finish in about this time, for all variants with three seeds.

        Raises:
            ValueError: ``minutes`` is not positive.
        """
        if not minutes > 0:
            raise ValueError(f"minutes must be positive, not {minutes}")
        share = minutes / _FULL_MINUTES
        return cls(max(4, round(4000 * share)), max(4, round(300 * share)), max(2, round(1200 * share)))

    def __str__(self) -> str:
        return f"{self.train_pictures} training and {self.test_pictures} test images of each world, {self.steps} steps"


def run(
    size: AblationSize,
    seeds: int,
    keys: Sequence[str],
    folder: Path,
    workers: int,
    json_path: Path | None,
    table_path: Path | None,
) -> int:
    """Train and test variants and write the results.

    Args:
        size: How large the runs are.
        seeds: Number of runs of each variant.
        keys: The variants; all if empty.
        folder: Cache of features and finished runs.
        workers: Number of processes.
        json_path: File for means and deviations, if any.
        table_path: File for the tables, if any.

    Returns:
        The exit code.

    Raises:
        ValueError: A variant does not exist, or a number is not positive.
        OSError: A file cannot be written.
    """
    keys = list(keys) or list(VARIANTS)
    if unknown := [key for key in keys if key not in VARIANTS]:
        raise ValueError(f"there is no row {', '.join(unknown)}; known: {', '.join(VARIANTS)}")
    if seeds < 1 or workers < 1:
        raise ValueError(f"seeds and workers must be at least 1, not {seeds} and {workers}")
    with ExitStack() as outputs:
        # Open the outputs first, so that one that cannot be written fails at once.
        json_file = outputs.enter_context(OutputFile(json_path)) if json_path else None
        table_file = outputs.enter_context(OutputFile(table_path)) if table_path else None
        features = {request: make_features(request, folder, workers) for request in _requests(keys, size)}
        jobs = [_job(VARIANTS[key], seed, size, features, folder / "runs") for seed in range(seeds) for key in keys]
        _run_missing(jobs, workers)
        rows = rows_of(
            {key: [json.loads(job.result.read_text()) for job in jobs if job.variant.key == key] for key in keys}
        )
        text = markdown(rows, f"{size}, {seeds} seed{'s' if seeds > 1 else ''}")
        if json_file:
            json_file.write_text(
                json.dumps({"rows": rows, "size": dataclasses.asdict(size), "seeds": seeds}, indent=2, allow_nan=False)
            )
        if table_file:
            table_file.write_text(text, encoding="utf-8")
    print(text)
    return 0


def _requests(keys: Sequence[str], size: AblationSize) -> list[FeatureRequest]:
    """Return the features that the variants need, each once."""
    return list(
        dict.fromkeys(request for key in keys for requests in _requests_of(VARIANTS[key], size) for request in requests)
    )


def _requests_of(
    variant: Variant, size: AblationSize
) -> tuple[list[FeatureRequest], list[FeatureRequest], list[FeatureRequest]]:
    """Return the features of a variant's worlds with 3D labels, of its wild worlds, and of its test worlds."""

    def request(world: str, is_test: bool) -> FeatureRequest:
        # Whole images if any variant sees those of the world, so that all variants share one set of features.
        seen = {
            name
            for other in VARIANTS.values()
            if other.view is View.IMAGE
            for name in (*other.lab, *other.wild, *other.tests)
        }
        num_images = size.test_pictures if is_test else size.train_pictures
        return FeatureRequest(
            world, "test" if is_test else "train", num_images, augmented=not is_test, images=world in seen
        )

    return (
        [request(world, False) for world in variant.lab],
        [request(world, False) for world in variant.wild],
        [request(world, True) for world in variant.tests],
    )


@dataclass(frozen=True)
class _Job:
    """One run. The paths of inputs and result are resolved once, before any run starts."""

    variant: Variant
    seed: int
    steps: int
    lab: tuple[Path, ...]
    wild: tuple[Path, ...]
    tests: tuple[Path, ...]
    result: Path


def _job(variant: Variant, seed: int, size: AblationSize, features: dict[FeatureRequest, Path], folder: Path) -> _Job:
    """Make a job whose result is named after everything that it depends on."""
    lab, wild, tests = (tuple(features[request] for request in requests) for requests in _requests_of(variant, size))
    used = [path.name for path in (*lab, *wild, *tests)]
    values = {"variant": variant, "steps": size.steps, "seed": seed, "features": used}
    return _Job(
        variant,
        seed,
        size.steps,
        lab,
        wild,
        tests,
        folder / f"{variant.key}_{seed}_{cache_key([versions.ABLATION, values])}.json",
    )


def _run_missing(jobs: list[_Job], workers: int) -> None:
    missing = [job for job in jobs if not job.result.exists()]
    with tqdm(total=len(jobs), initial=len(jobs) - len(missing), unit="run", file=sys.stderr) as bar:
        if workers == 1:
            for job in missing:
                _run_one(job, bar_position=1)
                bar.update()
            return
        # Forking beside the threads of torch may hang.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                for done in as_completed([pool.submit(_run_one, job) for job in missing]):
                    done.result()
                    bar.update()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _run_one(job: _Job, bar_position: int | None = None) -> None:
    """Trains, tests and keeps the figures."""
    images = job.variant.view is View.IMAGE
    lab, wild, tests = ([load_features(path, images) for path in paths] for paths in (job.lab, job.wild, job.tests))
    heads = train(job.variant, TrainingSet.of(lab, wild), job.steps, job.seed, bar_position)
    figures = {
        world: measure(job.variant, heads, features).as_dict()
        for world, features in zip(job.variant.tests, tests, strict=True)
    }
    job.result.parent.mkdir(parents=True, exist_ok=True)
    with OutputFile(job.result) as partial:
        partial.write_text(json.dumps(figures, allow_nan=False))
