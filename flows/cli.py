"""The command line `ilm`: thin. A command imports what it needs when it runs, so that `ilm --help` answers at once."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import model_commands, registry_commands, schedule_commands
from ilm.errors import IlmError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Item-Language Models: from interaction logs to a recommender. Run it in the project's root folder.",
)


@app.command()
def train(
    bootstrap: Annotated[bool, typer.Option(help="Make the result champion if there is none yet.")] = False,
) -> None:
    """Run all steps that are not up to date, then register the model.

    Example: ilm train --bootstrap
    """
    from flows.summary import print_summary
    from ilm.params import load_params
    from tasks.environment import use_project

    project = Path.cwd()
    load_params(project / "params.yaml")  # a mistake in it is said at once, not after Prefect has started
    use_project(project)  # before prefect is imported: it reads its settings then
    from flows.train import run

    trained = run(project, bootstrap)
    print_summary(project, trained.version, trained.champion)


app.add_typer(model_commands.app)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The workspace to make.")],
    interactions: Annotated[Path, typer.Option(help="Who chose what, when: parquet, csv, jsonl, csv.gz, jsonl.gz.")],
    items: Annotated[Path, typer.Option(help="What the items are: an id, a title, any texts.")],
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="OURS=THEIRS", help="Which column is which, where it is not clear; repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Take what is proposed.")] = False,
) -> None:
    """Make a workspace for your own data: looks at two files, proposes settings, and writes a clone with them.

    Example: ilm init ../shop --interactions orders.csv --items products.csv --map user_id=customer_no
    """
    from flows.workspace import Files
    from flows.workspace import init as make

    given = dict(pair.split("=", 1) for pair in columns or [] if "=" in pair)
    if len(given) != len(columns or []):
        raise typer.BadParameter("--map takes OURS=THEIRS, each of ours once, such as user_id=customer.")
    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked: give --yes to take what is proposed.")
    make(folder, Files(interactions, items), given, lambda: yes or typer.confirm("Make this workspace?", default=True))


@app.command()
def status() -> None:
    """Show each step's last run, what is out of date, and the champion with its metrics."""
    from flows.status import print_status

    print_status(Path.cwd())


@app.command()
def doctor() -> None:
    """Check versions, hardware, data, models and stores; say what is wrong and how to mend it (exit code 1)."""
    from flows.doctor import print_findings

    raise typer.Exit(print_findings(Path.cwd()))


@app.command()
def export_features(
    folder: Annotated[Path, typer.Argument(help="Folder to make, such as features.")],
) -> None:
    """Copy features and settings to a folder, to train on a machine without the pipeline (python -m ilm.train).

    Example: ilm export-features features
    """
    from tasks.export import export_features as export

    names = export(Path.cwd(), folder)
    print(f"{folder}: {', '.join(names)}")
    print(f"There: python -m ilm.train pretrain --features {folder} --out models/encoder")


@app.command()
def report() -> None:
    """Put the last run, all benchmarks and all ablations on one page: reports/index.html, readable offline.

    Example: ilm report
    """
    from flows.report import write_page

    page, benchmarks = write_page(Path.cwd())
    print(f"with {', '.join(benchmarks)}" if benchmarks else "no benchmarks yet; ilm bench and ilm ablate make some")
    print(f"report  {page}")


@app.command()
def bench(
    name: Annotated[
        str, typer.Argument(help="movielens-small, ml-1m, beauty, clothing; or project: your own features.")
    ],
    data: Annotated[Path | None, typer.Option(help="The data as they are given out: a folder or zip archive.")] = None,
    systems: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME...", help="What to compare; the first is tested against the others."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How often each system is trained: seeds 0, 1, …", min=1)] = 3,
    part: Annotated[str, typer.Option(help="valid ranks the item before the last: to choose settings by.")] = "test",
    diagnose: Annotated[bool, typer.Option(help="Rank also with parts of each model taken away.")] = False,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE...", help="Other settings.")
    ] = None,
) -> None:
    """Train and compare systems on a benchmark; what is finished is kept. Results: reports/bench/NAME.

    Examples: ilm bench movielens-small --systems als popularity --seeds 1;
    ilm bench ml-1m --data ~/ml-1m.zip --systems ilm ilm-rand mlp --set finetune.steps=900
    """
    _bench(name, data=data, systems=tuple(systems or ()), seeds=seeds, part=part, diagnose=diagnose, sets=overrides)


@app.command()
def ablate(
    what: Annotated[str, typer.Argument(help="stage1, queries, encoder or cf-tokens.")],
    on: Annotated[str, typer.Option(help="The benchmark.")] = "movielens-small",
    data: Annotated[Path | None, typer.Option(help="The benchmark's data, as in `ilm bench`.")] = None,
    seeds: Annotated[int, typer.Option(help="How often each system is trained: seeds 0, 1, …", min=1)] = 3,
    part: Annotated[str, typer.Option(help="valid ranks the item before the last: to choose settings by.")] = "test",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE...", help="Other settings.")
    ] = None,
) -> None:
    """Change one part of the model at a time, as the paper does. Results: reports/bench/WHAT-BENCHMARK.

    Examples: ilm ablate stage1; ilm ablate queries --on ml-1m --data ~/ml-1m.zip --seeds 5
    """
    _bench(on, ablation=what, data=data, seeds=seeds, part=part, sets=overrides)


@app.command()
def elm(
    systems: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME...", help="Default: ilm ilm-rand mlp text; the first is tested against the others."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How often each system is trained.", min=1)] = 1,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE...", help="Other settings.")
    ] = None,
) -> None:
    """ELM-24: systems tell of items whose texts they have not seen, against a teacher's words. Results: reports/elm.

    Examples: ilm elm --set elm.items=60 elm.held_out_items=20; ilm elm --systems ilm mlp --seeds 3
    """
    import shlex

    from flows.elm import RESULTS, Request
    from flows.elm import elm as run
    from ilm.elm.table import markdown

    command = shlex.join(["ilm", *sys.argv[1:]])
    metrics = run(Path.cwd(), Request(tuple(systems or ()), seeds, tuple(overrides or ()), command))
    print(f"\n{markdown(metrics)}\nresults  {Path.cwd() / RESULTS}")


def _bench(benchmark: str, *, sets: list[str] | None, **wanted: Any) -> None:
    import shlex

    from flows.bench import Request
    from flows.bench import bench as run

    command = shlex.join(["ilm", *sys.argv[1:]])
    outcome = run(Path.cwd(), Request(benchmark, overrides=tuple(sets or ()), command=command, **wanted))
    print(f"\n{outcome.table}\nresults  {outcome.folder}")


app.add_typer(registry_commands.app)


@app.command()
def retrain(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is fresh and what would run.")] = False,
    wait: Annotated[float, typer.Option(metavar="MINUTES", help="Wait so long for another retrain to end.", min=0)] = 0,
) -> None:
    """Retrain the last commit on the data as they are now, and promote the result if it is proved to be better.

    Works in a worktree of its own: your files stay as they are. Example: ilm retrain --wait 60
    """
    from tasks.environment import use_project

    project = Path.cwd()
    use_project(project)
    if dry_run:
        from flows.retrain_plan import print_plan

        print_plan(project)
        return
    from flows.retrain import retrain as retrain_project

    retrain_project(project, wait)


app.add_typer(schedule_commands.app)

logs = typer.Typer(no_args_is_help=True, help="Log files that are added to the source (docs/logs.md).")
app.add_typer(logs, name="logs")


@logs.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Log files, or files of items, wherever they lie.")],
    every: Annotated[bool, typer.Option("--all", help="Show every bad row, not the first three of each rule.")] = False,
) -> None:
    """Say what would happen to each row of a file. Exit code 1: it would not be used, or it would stop a run.

    Example: ilm logs check new/2024-05-01.csv.gz
    """
    from flows.logs_command import EXAMPLES, check_logs

    raise typer.Exit(check_logs(Path.cwd(), files, None if every else EXAMPLES))


def main() -> None:
    """Entry point. A user's mistake gives one message and exit code 2; a defect keeps its traceback."""
    try:
        app(args=as_parsed(sys.argv[1:]), prog_name="ilm")
    except IlmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted. Run the same command again to go on.", file=sys.stderr)
        sys.exit(130)


def as_parsed(words: list[str]) -> list[str]:
    """The words of a command line as Typer takes them."""
    for flag in ("--history", "--systems", "--set"):
        words = spread(words, flag)
    return words


def spread(words: list[str], flag: str) -> list[str]:
    """Let a flag take several values: `--history A B -k 5` becomes `--history A --history B -k 5`, order kept."""
    spread_words: list[str] = []
    taking = False
    for word in words:
        if word.startswith("-"):
            taking = word == flag
            if not taking:
                spread_words.append(word)
        else:
            spread_words += [flag, word] if taking else [word]
    return spread_words


if __name__ == "__main__":
    main()
