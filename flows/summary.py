"""What `ilm train` prints at its end: systems x metrics, where the report lies, who serves, what to try next."""

from pathlib import Path
from typing import Any

from ilm.files import read_json
from tasks import paths

METRICS = {"hr_at_5": "HR@5", "hr_at_10": "HR@10", "ndcg_at_5": "NDCG@5", "ndcg_at_10": "NDCG@10"}

FEW_CASES = 100
"""Fewer users than this leave an HR@10 of 0.1 with a 95 % interval wider than itself."""


def print_summary(project: Path, version: str, champion: str | None) -> None:
    """Print the end of a training run.

    Raises:
        ArtifactError: metrics.json is missing or damaged.
    """
    from rich.console import Console

    metrics = read_json(project / paths.METRICS)
    data = metrics["data"]
    print(headline(data))
    Console(highlight=False).print(metrics_table(metrics))
    print(f"report    {project / paths.REPORT}")
    print(champion_line(version, champion))
    print("try next")
    for command in commands_to_try(project):
        print(f"  {command}")


def headline(data: dict[str, Any]) -> str:
    """What the table is about; how many users it rests on, and a warning if they are too few to tell anything."""
    cases = data["cases"]
    asked = f"{cases:,} users" if cases == data["users"] else f"{cases:,} of {data['users']:,} users"
    few = f"; {cases:,} are too few to tell systems apart" if cases < FEW_CASES else ""
    return f"Next item, {asked}, {data['items']:,} items, items seen before left out{few}"


def champion_line(version: str, champion: str | None) -> str:
    """Who serves, and what to do if it is not the version that was just trained."""
    if champion is None:
        return f"champion  none yet; to make version {version} the first one: ilm promote {version} --bootstrap"
    if champion != version:
        waits = f"version {version} waits as challenger"
        return f"champion  still version {champion}; {waits}: ilm promote {version} --because TEXT"
    return f"champion  version {version}"


def metrics_table(metrics: dict[str, Any]) -> Any:
    """A rich table of the sequential task, items seen before left out of the ranking."""
    from rich.table import Table

    table = Table()
    table.add_column("system")
    for label in METRICS.values():
        table.add_column(label, justify="right")
    for system in sorted(metrics["systems"], key=lambda name: (name == "ilm", name != "popularity", name)):
        values = metrics["systems"][system]["sequential"]["filtered"]
        table.add_row(system, *(f"{values[name]:.4f}" for name in METRICS))
    return table


def commands_to_try(project: Path) -> list[str]:
    """Three commands that work on this very model: a user it knows, titles it knows, the state of things."""
    import shlex

    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    user = pq.read_table(project / paths.USER_IDS, columns=["user_id"])["user_id"][0].as_py()
    catalogue = pq.read_table(project / paths.CATALOGUE, columns=["title", "active"])
    titles = catalogue.filter(pc.field("active"))["title"].slice(0, 2).to_pylist()
    return [
        f"ilm recommend --user {shlex.quote(user)} -k 10",
        f"ilm recommend --history {' '.join(shlex.quote(title) for title in titles)} -k 10",
        "ilm status",
    ]
