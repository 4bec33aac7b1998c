"""All systems by name, and all trials of several of them."""

from collections.abc import Mapping, Sequence

from ilm.bench.log_systems import LOG_SYSTEMS, SEEDED
from ilm.bench.rankings import OTHER_RANKINGS
from ilm.bench.trial import Trial
from ilm.bench.trials import Trials
from ilm.bench.variants import ABLATIONS, VARIANTS, Changes
from ilm.errors import ConfigError, DataError

Systems = Mapping[str, Changes | None]
"""Name -> what a system with a language model changes in the settings; None for one that reads the log alone."""

USUAL = ("ilm", "ilm-rand", "mlp", "text", *LOG_SYSTEMS)
"""What is compared where the user names nothing."""


def chosen_systems(names: Sequence[str], ablation: str | None = None) -> Systems:
    """The systems of these names (none: the usual ones), or those of an ablation, in order.

    Raises:
        ConfigError: there is no such system or ablation (the ones that exist are listed), or both are asked for.
    """
    if ablation is not None:
        if names:
            raise ConfigError("an ablation names its systems itself. Leave out --systems, or the ablation.")
        if ablation not in ABLATIONS:
            raise ConfigError(f"no ablation is called {ablation!r}. There are: {', '.join(ABLATIONS)}.")
        return ABLATIONS[ablation]
    reranked = {name: changes for name, (changes, _) in OTHER_RANKINGS.items()}
    known: dict[str, Changes | None] = {**VARIANTS, **reranked, **dict.fromkeys(LOG_SYSTEMS)}
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"--systems: no system is called {', '.join(unknown)}. There are: {', '.join(known)}.")
    return {name: known[name] for name in names or USUAL}


def run_systems(
    trials: Trials, systems: Systems, seeds: int, diagnose: bool = False
) -> tuple[list[Trial], dict[str, str]]:
    """All trials, kept ones and new ones, seed by seed; and the systems that cannot run on these data, with why.

    Raises:
        ConfigError: no seed was asked for.
        DataError: none of them can.
        IlmError: a training failed.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds}: each system needs at least one. Try --seeds 3.")
    not_run = {name: why for name in systems if (why := trials.impossible(name))}
    for name, why in not_run.items():
        print(f"{name}  not run: {why}", flush=True)
    found: dict[str, list[Trial]] = {name: [] for name in systems if name not in not_run}
    for seed in range(seeds):  # first everything once: an interrupted comparison says something about all
        for name, trials_of_system in found.items():
            changes = systems[name]
            if changes is not None:
                trials_of_system += trials.of_language_model(name, changes, seed, diagnose)
            elif seed == 0 or name in SEEDED:
                trials_of_system.append(trials.of_log(name, seed))
    if not found:
        raise DataError(f"none of the systems can run: {'; '.join(f'{name}: {why}' for name, why in not_run.items())}.")
    return [trial for trials_of_system in found.values() for trial in trials_of_system], not_run
