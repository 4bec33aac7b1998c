"""The command `ilm schedule`: sets the schedule, shows it, follows it."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def schedule(
    cron: Annotated[str | None, typer.Option(metavar="EXPRESSION", help="Retrain at these times.")] = None,
    every: Annotated[str | None, typer.Option(metavar="TIME", help="Retrain so often: 30m, 1h, 2d.")] = None,
    on_arrival: Annotated[
        bool, typer.Option("--on-arrival", help="Retrain when files have come to the log folder; also with a time.")
    ] = False,
    timezone: Annotated[str, typer.Option(help="In which --cron is meant, such as Europe/Berlin.")] = "UTC",
    run: Annotated[
        bool, typer.Option("--run", help="Follow the schedule, until Ctrl-C. Has to be kept alive.")
    ] = False,
    unit: Annotated[bool, typer.Option("--unit", help="Print a systemd unit that keeps --run alive.")] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Show what is next, and whether it will happen; exit code 1 if not.")
    ] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Start nothing until --resume.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after --pause.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Have no schedule any more.")] = False,
) -> None:
    """Retrain by itself: at times, in intervals, or when log files come (docs/schedule.md).

    Examples: ilm schedule --cron "0 3 * * *"; ilm schedule --every 1h; ilm schedule --run; ilm schedule --status
    """
    from flows import schedule as schedules

    home, sets = Path.cwd(), bool(cron or every or on_arrival)
    if sum((sets, run, unit, status, pause, resume, remove)) != 1:
        raise typer.BadParameter("say when (--cron, --every, --on-arrival), or give one of the other options.")
    if cron and every:
        raise typer.BadParameter("give --cron or --every, not both.")
    _require_project(home)
    if run:
        from flows.scheduler import run as follow

        follow(home)
        return
    if unit:
        from flows.schedule_status import unit as systemd_unit

        print(systemd_unit(home), end="")
        return
    if sets:
        seconds = None if every is None else schedules.seconds(every)
        print(f"schedule  {schedules.want(home, cron, timezone, seconds, on_arrival)}")
    elif pause or resume:
        print(f"schedule  {schedules.pause(home, pause)}{', paused' if pause else ''}")
    elif remove:
        schedules.remove(home)
        print("schedule  removed: `ilm schedule --run` takes it off the Prefect server; a retrain under way goes on")
        return
    from flows.schedule_status import print_status, warn_if_nobody_follows

    if status:
        raise typer.Exit(print_status(home))
    warn_if_nobody_follows(home)


def _require_project(home: Path) -> None:
    from ilm.errors import ConfigError

    if not (home / "params.yaml").is_file():
        raise ConfigError(f"{home}: no params.yaml. Run from the project's root folder.")
