"""`ilm bench` and `ilm ablate`: systems x seeds on a benchmark, in a folder of its own; results and how they came.

All that is computed lies in .bench/<benchmark>/ and is kept; the results, in reports/, are made of it anew each time.
"""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flows.presets import Benchmark, data_settings, find_benchmark, require_sizes
from ilm.errors import ConfigError, IlmError
from ilm.params import Params, load_params
from tasks import paths

WORK = Path(".bench")
OWN = "project"
"""Name of the benchmark that is the project's own data, as its last pipeline run left them."""


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    benchmark: str
    data: Path | None = None
    systems: tuple[str, ...] = ()
    """Empty: all but the further variants."""
    ablation: str | None = None
    """Instead of systems."""
    seeds: int = 3
    part: str = "test"
    """Or `valid`."""
    diagnose: bool = False
    overrides: tuple[str, ...] = ()
    command: str = ""
    """As it was typed."""

    def data_name(self, params: Params) -> str:
        """Of the data as they are split: a benchmark that is cut by time is another one than the published."""
        by_time = params.split.strategy == "global_time" and self.benchmark != OWN
        return f"{self.benchmark}-global-time" if by_time else self.benchmark

    def name(self, params: Params) -> str:
        """Of the folder of results."""
        parts = [self.ablation, self.data_name(params), None if self.part == "test" else self.part]
        return "-".join(part for part in parts if part)


@dataclass
class Outcome:
    """What was done."""

    folder: Path
    """Of the results."""
    table: str
    """Markdown."""
    steps: list[str] = field(default_factory=list)
    """Feature steps that had to run."""


def bench(project: Path, request: Request) -> Outcome:
    """Run what is missing, and write the results.

    Raises:
        IlmError: the request or the data are wrong, or a step or training failed.
    """
    from flows.bench_record import Record
    from ilm.bench.systems import chosen_systems, run_systems
    from ilm.bench.trials import Trials

    if request.part not in ("test", "valid"):
        raise ConfigError(f"--part {request.part}: must be test or valid.")
    systems = chosen_systems(request.systems, request.ablation)
    if request.benchmark == OWN:
        _require_trainable(request)
        params, benchmark = with_overrides(load_params(project / "params.yaml"), request.overrides), None
    else:
        benchmark = find_benchmark(request.benchmark)
        params = with_overrides(_preset(benchmark, request.data), request.overrides)
    work = project / WORK / request.data_name(params)
    with alone(work), Record.open(project, request, params) as record:
        steps, features = _features(project, work, benchmark, params)
        trials = Trials(features, work / "kept", params.model_dump(by_alias=True), request.part)
        done, not_run = run_systems(trials, systems, request.seeds, request.diagnose)
        folder, table = record.write(trials, done, not_run)
    return Outcome(folder, table, steps)


def _require_trainable(request: Request) -> None:
    """The project's features are there already: what made them cannot be asked for here."""
    made = ("data.", "validate.", "split.", "cf.", "pairs.")
    late = [text for text in request.overrides if text.startswith(made) and not text.startswith("pairs.max_history=")]
    if request.data is not None or late:
        raise ConfigError(
            f"{OWN}: {', '.join([*late, *(['--data'] if request.data else [])])} would change the features, and those "
            "are the project's own. Change params.yaml and run `ilm train` first."
        )


def _preset(benchmark: Benchmark, data: Path | None) -> Params:
    raw = Params().model_dump(by_alias=True)
    for changes in (benchmark.settings, {"data": data_settings(benchmark, data)}):
        for section, values in changes.items():
            raw[section] |= values
    return Params.model_validate(raw)


def with_overrides(params: Params, overrides: Sequence[str]) -> Params:
    """Settings changed by "section.setting=value".

    Raises:
        ConfigError: a setting does not exist, or may not have the value.
    """
    from ilm.train.settings import apply_overrides, limits_of

    raw = params.model_dump(by_alias=True)
    apply_overrides(raw, limits_of(Params.model_json_schema()), overrides)
    return Params.model_validate(raw)


def _features(project: Path, work: Path, benchmark: Benchmark | None, params: Params) -> tuple[list[str], Path]:
    """The steps that ran, and the folder with their features. Wrong sizes are told before anything is fitted."""
    from flows.bench_features import FEATURE_STEPS, make_features
    from ilm.data.coded_log import CodedLog
    from ilm.data.schema import INTERACTIONS, ITEMS, read_table
    from ilm.data.split import what_counts, with_known_items

    if benchmark is None:
        return [], project / paths.FEATURES
    graph, cut = (project / "dvc.yaml").resolve(), params.split
    ran = make_features(work, params, graph, FEATURE_STEPS[:1])
    interactions = read_table(work / paths.INTERACTIONS, INTERACTIONS)
    known = with_known_items(interactions, read_table(work / paths.ITEMS, ITEMS, with_text=True))
    whole = cut.model_copy(update={"strategy": "leave_one_out"})  # published sizes are of the k-core of everything
    require_sizes(benchmark, what_counts(CodedLog.of(known), whole).counts)
    return ran + make_features(work, params, graph, FEATURE_STEPS[1:]), work / paths.FEATURES


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Hold the benchmark's folder: two runs in it would train the same models."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise IlmError(f"{work}: another run of this benchmark is under way. Wait for its end.") from None
        yield
