"""The part of the command line that is about registered versions: promote, rollback, history, compare, checkout."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()
Version = Annotated[str, typer.Argument(help="A version's number, such as 2, or champion, previous, challenger.")]


@app.command()
def promote(
    version: Version,
    because: Annotated[str, typer.Option(metavar="TEXT", help="Your reason, if no gate has proved it better.")] = "",
    bootstrap: Annotated[bool, typer.Option(help="Allow it to be the first champion.")] = False,
) -> None:
    """Make a registered version champion, after checking that it is whole and works. The old one becomes `previous`.

    Examples: ilm promote 2; ilm promote 2 --because "the gate lacks users, the A/B test does not"
    """
    from flows.promotion import promote as promote_version
    from flows.registry_store import Registry

    project = Path.cwd()
    champion = Registry.open(project).serving().champion
    promote_version(project, version, expected_champion=champion, bootstrap=bootstrap, because=because)


@app.command()
def rollback(
    to: Annotated[str | None, typer.Option(metavar="VERSION", help="Not `previous`, but this former champion.")] = None,
    because: Annotated[str, typer.Option(metavar="TEXT", help="Why, for `ilm history`.")] = "",
) -> None:
    """Bring back the champion of before, at once: nothing is trained. The present one becomes `previous`.

    Examples: ilm rollback; ilm rollback --to 3 --because "4 and 5 learned from broken logs"
    """
    from flows.promotion import rollback as roll_back

    roll_back(Path.cwd(), to=to, because=because)


@app.command()
def history(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, oldest first.")] = False,
) -> None:
    """Show what was champion on which day, who or what decided it, and on which evidence."""
    from flows.history import print_history, print_json

    (print_json if as_json else print_history)(Path.cwd())


@app.command()
def compare(a: Version, b: Version) -> None:
    """Show two versions side by side: settings and data that differ, metrics, and what a gate said of them.

    Example: ilm compare champion 5
    """
    from flows.compare import print_comparison

    print_comparison(Path.cwd(), a, b)


@app.command()
def checkout(
    version: Version,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
) -> None:
    """Bring a version's code, settings, data and artifacts into a new folder, from the DVC cache or remote.

    Example: ilm checkout 3 ../version-3
    """
    from flows.checkout import checkout as check_out

    found = check_out(Path.cwd(), version, folder)
    print(f"checkout  version {found.version}, commit {found.commit[:12]}, is in {folder}")
    for note in found.notes:
        print(f"checkout  {note}")
