"""All trials on one features folder. What is finished is kept under a digest of its settings, inputs and code."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ilm.bench.diagnoses import WHOLE
from ilm.bench.kept import key_of
from ilm.bench.log_systems import LOG_SYSTEMS, SEEDED, Built, Log, code_of
from ilm.bench.rankings import Ranked, diagnoses_of, ranking_of
from ilm.bench.training import Training
from ilm.bench.trial import Trial, load_trial, save_trial
from ilm.bench.variants import Changes, varied
from ilm.data.schema import CATALOGUE, EXAMPLES, SEQUENCES, read_table
from ilm.data.untitled import is_titled
from ilm.eval.cases import candidate_items, held_out_cases, sizes
from ilm.eval.protocol import Cases, target_ranks
from ilm.prompts.templates import TASKS
from ilm.train.settings import Settings

TABLES = ("catalogue.parquet", "sequences.parquet", "examples.parquet", "cf.safetensors")
"""The features that every ranking depends on."""
_RANKING_CODE = ("eval/protocol.py", "eval/cases.py")
_MODEL_CODE = ("cf", "model", "prompts", "rank", "bench/diagnoses.py", "bench/rankings.py")


class Trials:
    """Systems on the same features, cases and candidates, with the same settings but for what a system changes."""

    def __init__(self, features: Path, out: Path, settings: Settings, part: str = "test") -> None:
        """Read what all systems are judged by.

        Args:
            features: folder with what the steps `split`, `cf` and `pairs` wrote.
            out: folder of what is kept.
            settings: of all sections.
            part: "test", or "valid" to choose settings by.

        Raises:
            ArtifactError: a table is missing or damaged.
            DataError: there are no cases, or the tables are of different runs.
        """
        self.features, self.out, self.settings, self.part = features, out, settings, part
        self.catalogue = read_table(features / "catalogue.parquet", CATALOGUE, with_text=True)
        self.sequences = read_table(features / "sequences.parquet", SEQUENCES)
        examples = read_table(features / "examples.parquet", EXAMPLES)
        self.active = self.catalogue["active"].to_numpy()
        self.candidates = candidate_items(self.sequences, self.active, settings["split"]["strategy"], part)
        self.cases: dict[str, Cases] = {task: held_out_cases(examples, self.sequences, task, part) for task in TASKS}
        self._batch_size = int(settings["evaluate"]["batch_size"])
        self._log = Log(features, out, self.sequences, examples, self.catalogue.height, settings.get("sasrec", {}))

    @property
    def data(self) -> dict[str, Any]:
        """Sizes, as metrics.json has them."""
        return sizes(self.sequences, self.active, self.settings["split"]["strategy"], self.part)

    def impossible(self, system: str) -> str | None:
        """Why a system cannot run on these data; None if it can."""
        if system in LOG_SYSTEMS or (is_titled(self.catalogue).to_numpy() & self.active).any():
            return None
        return f"it reads item texts, and none of the {self.active.sum():,} items has a title"

    def of_log(self, system: str, seed: int) -> Trial:
        """A system that reads the log alone; it is shown a user's whole history. To most, one seed is as another."""
        seed = seed if system in SEEDED else 0
        trained_with = dict(self._log.sasrec) if system in SEEDED else {}
        key = self._key([system, seed, trained_with], code_of(system))
        whole = {task: replace(cases, histories=cases.seen) for task, cases in self.cases.items()}
        return self._kept(system, seed, key, whole, lambda: LOG_SYSTEMS[system](self._log, seed))

    def of_language_model(self, system: str, changes: Changes, seed: int, diagnose: bool = False) -> list[Trial]:
        """A system with a language model; with `diagnose` also what is left of it without each of its parts."""
        settings = varied(self.settings, changes, seed, system)
        training = Training(self.features, self.out, settings, f"{system} seed {seed}")
        ranking = ranking_of(system)

        def built(diagnosis: str) -> Built:
            seconds = training.run()
            ranked = Ranked(self._log.factors(), self.catalogue["title"].to_list(), self.candidates, self._batch_size)
            return ranking(*training.trained(diagnosis), ranked), seconds, training.record()

        trials = []
        for diagnosis in diagnoses_of(system) if diagnose else (WHOLE,):
            key = self._key([training.key, diagnosis, ranking.__name__], _MODEL_CODE)
            build = lambda diagnosis=diagnosis: built(diagnosis)  # noqa: E731
            trials.append(self._kept(system + diagnosis, seed, key, self.cases, build))
        return trials

    def _key(self, what: list[Any], code: tuple[str, ...]) -> str:
        how = [self.part, self.settings["split"]["strategy"], self._batch_size]
        return key_of([*what, *how], [self.features / name for name in TABLES], (*code, *_RANKING_CODE))

    def _kept(
        self,
        system: str,
        seed: int,
        key: str,
        cases: Mapping[str, Cases],
        build: Callable[[], Built],
    ) -> Trial:
        """The kept trial; or what `build` gives (recommender, seconds, record), ranked and then kept."""
        folder = self.out / "trials" / f"{system.replace(' ', '_')}.{seed}.{key}"
        if folder.exists():
            print(f"{system}  seed {seed}  kept", flush=True)
            return load_trial(folder, self.cases)
        recommender, seconds, record = build()
        start = time.monotonic()
        rankings = {
            task: target_ranks(recommender, task, cases[task], self.candidates, self._batch_size, system)
            for task in TASKS
        }
        seconds = seconds | {"rank": round(time.monotonic() - start, 2)}
        save_trial(folder, Trial(system, seed, rankings, seconds, record), self.cases)
        spent = "  ".join(f"{what} {value:,.1f} s" for what, value in seconds.items())
        print(f"{system}  seed {seed}  {spent}", flush=True)
        return load_trial(folder, self.cases)
