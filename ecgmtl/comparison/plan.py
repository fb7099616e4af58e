"""Plan of a comparison: the arms, seeds and folds, and the runs that follow from them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ecgmtl.comparison.arms import Arm
from ecgmtl.comparison.results import Tried, read_result, result_path
from ecgmtl.comparison.run import TUNING, ArmRun
from ecgmtl.identity import sha256

TUNED_ON = 0.1
"""Fraction of the training patients on which settings are tried, so that tuning does not use evaluated records."""
SEED_STRIDE = 1000
"""Difference between the configs' seeds of two successive seeds of the same fold."""


class Plan(NamedTuple):
    """Arms to compare, the data, and the output folder."""

    arms: Sequence[Arm]
    data: Path
    out: Path
    seeds: int
    tune: int = 0
    """Number of settings to try for each arm and fold before its seeds are run, beginning with the arm's own."""
    jobs: int = 1
    """Number of parallel runs. Each gets its share of the processor."""
    track: bool = True
    folds: tuple[int, ...] = ()
    """Folds to evaluate on, each by runs that are trained on all others. Empty for the validation split."""

    @property
    def evaluated(self) -> tuple[int | None, ...]:
        """Folds to evaluate on, or None alone for the validation split."""
        return self.folds or (None,)

    def trials(self, data_sha256: str, run_id: str | None) -> list[ArmRun]:
        """Return a run for each setting that tuning tries.

        `data_sha256` is the digest of the prepared folder, and `run_id` the comparison's MLflow run.
        """
        return [
            self.run_of(
                arm,
                0,
                settings | {"validation_share": TUNED_ON},
                self.trial_path(arm, trial, fold),
                data_sha256=data_sha256,
                run_id=run_id,
                fold=fold,
            )
            for fold in self.evaluated
            for arm in self.arms
            for trial, settings in enumerate(arm.settings_to_try(self.tune))
        ]

    def runs(self, data_sha256: str, run_id: str | None) -> list[ArmRun]:
        """Return a run for each seed of each arm, with the best settings that tuning has found.

        One seed and fold of every arm comes before the next, so that an interrupted comparison is balanced.
        """
        tried = {(arm.name, fold): self.tried(arm, fold) for arm in self.arms for fold in self.evaluated}
        return [
            self.run_of(
                arm,
                seed,
                best_of(tried[arm.name, fold]),
                result_path(self.out, arm.name, seed, fold),
                tried[arm.name, fold],
                data_sha256=data_sha256,
                run_id=run_id,
                fold=fold,
            )
            for seed in range(self.seeds)
            for fold in self.evaluated
            for arm in self.arms
            if seed in arm.seeds(self.seeds)
        ]

    def run_of(
        self,
        arm: Arm,
        seed: int,
        settings: dict[str, Any],
        result: Path,
        tried: tuple[Tried, ...] = (),
        *,
        data_sha256: str,
        run_id: str | None,
        fold: int | None,
    ) -> ArmRun:
        """Return the run of an arm with one seed and these settings."""
        config = arm.with_settings({**settings, **seed_and_fold(seed, fold)}, arm.name)
        identity = sha256(f"{config.model_dump_json()} {data_sha256}".encode())
        threads = max(1, (os.cpu_count() or 1) // self.jobs)
        return ArmRun(
            arm.name, seed, arm.file, config, self.data, self.out, result, identity, threads, run_id, tried, fold
        )

    def trial_path(self, arm: Arm, trial: int, fold: int | None) -> Path:
        """Return the path of the result of a trial, which does not use the evaluated fold."""
        return self.out / TUNING / result_path(self.out, arm.name, trial, fold).name

    def tried(self, arm: Arm, fold: int | None) -> tuple[Tried, ...]:
        """Return the settings that were trained, each with its score."""
        trials = []
        for trial, settings in enumerate(arm.settings_to_try(self.tune)):
            path = self.trial_path(arm, trial, fold)
            if path.is_file():
                trials.append(Tried(settings=settings, score=read_result(path).macro_auroc))
        return tuple(trials)


def seed_and_fold(seed: int, fold: int | None) -> dict[str, int]:
    """Return the seed and the validation fold of a run's config.

    Each fold has seeds of its own, which all arms share. So the folds differ in everything that is random, and the
    spread over folds includes the spread over seeds.
    """
    return {"seed": seed} if fold is None else {"seed": SEED_STRIDE * seed + fold, "validation_fold": fold}


def best_of(trials: tuple[Tried, ...]) -> dict[str, Any]:
    """Return the settings with the highest score, or none if nothing was tried."""
    return max(trials, key=lambda trial: trial.score).settings if trials else {}
