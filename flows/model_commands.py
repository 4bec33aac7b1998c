"""The part of the command line that asks a model: recommend, chat, explain, serve, export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.batch import Engine

if TYPE_CHECKING:
    from ilm.serve.item_language_model import ItemLanguageModel

app = typer.Typer()
User = Annotated[str | None, typer.Option(help="Id of a user of the log.")]
History = Annotated[
    list[str] | None,
    typer.Option(metavar="TITLE...", help="What somebody liked, oldest first: titles or item ids."),
]
Model = Annotated[
    str, typer.Option(metavar="NAME", help="champion, challenger, previous, a version's number; or a model's folder.")
]


@app.command()
def recommend(
    user: User = None,
    history: History = None,
    k: Annotated[int, typer.Option("-k", help="How many items.", min=1)] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    all_users: Annotated[bool, typer.Option("--all-users", help="For every user of the log, into --out.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Parquet; a run that was cut short goes on.")] = None,
    engine: Annotated[
        Engine, typer.Option(help="For --all-users: processes of this machine, or actors of Ray.")
    ] = "local",
    processes: Annotated[
        int | None,
        typer.Option(
            help="For --all-users: how many; one per GPU, or per processor where there is none, if not said.", min=1
        ),
    ] = None,
    model: Model = "champion",
) -> None:
    """Recommend unseen items, for a user, for a history, or for all users (docs/batch.md).

    Examples: ilm recommend --user 42 -k 10; ilm recommend --history "Heat (1995)" "Ronin (1998)";
    ilm recommend --all-users -k 50 --out recs.parquet; the same with --engine ray --processes 8
    """
    if (user is not None) + bool(history) + all_users != 1:
        raise typer.BadParameter("give one of --user, --history and --all-users.")
    if all_users != (out is not None):
        raise typer.BadParameter("--all-users and --out belong together.")
    if out is not None:
        from flows.batch import recommend_all_users

        recommend_all_users(Path.cwd(), model, out, k, engine, processes)
        return
    found = _load(model).rank(user=user, history=history, k=k)
    rows = [{"rank": i, "item_id": r.item_id, "title": r.title, "score": r.score} for i, r in enumerate(found, start=1)]
    if as_json:
        import json

        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for row in rows:
        print(f"{row['rank']:>3}  {row['score']:8.3f}  {row['title']}  [{row['item_id']}]")


@app.command()
def chat(
    user: User = None,
    history: History = None,
    k: Annotated[int, typer.Option("-k", help="Items per answer.", min=1)] = 3,
    model: Model = "champion",
) -> None:
    """Talk about what to choose next, as a user of the log, as somebody with a history, or as nobody yet.

    Examples: ilm chat --user 42; ilm chat --history "Heat (1995)" "Ronin (1998)"; ilm chat
    """
    from flows.chat import talk
    from ilm.serve.session import Session

    talk(Session(_load(model), user=user, history=history or (), k=k))


@app.command()
def explain(
    item: Annotated[str, typer.Option(help="Title or id.")],
    user: User = None,
    history: History = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
    model: Model = "champion",
) -> None:
    """Say why an item is recommended: what each item of the history adds to it, and which of them it resembles.

    Example: ilm explain --user 42 --item "Heat (1995)"
    """
    if (user is None) == (not history):
        raise typer.BadParameter("give either --user or --history.")
    explained = _load(model).explain(item, user=user, history=history)
    if as_json:
        import json
        from dataclasses import asdict

        print(json.dumps(asdict(explained), ensure_ascii=False, indent=2))
        return
    from flows.explanation_table import lines

    print("\n".join(lines(explained)))


@app.command()
def serve(
    model: Model = "champion",
    host: Annotated[
        str, typer.Option(help="Address to listen at; others than loopback need ILM_API_KEY.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8000,
    batch: Annotated[int, typer.Option(help="Most prompts per pass of the model.", min=1)] = 32,
    queue: Annotated[int, typer.Option(help="Most requests that wait; more get 429.", min=1)] = 64,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="For an answer, waiting included.", min=0.1)] = 30,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Host name that requests may be addressed to; repeatable.")
    ] = None,
    follow: Annotated[
        float, typer.Option(metavar="SECONDS", help="Between two looks for a new champion.", min=0.1)
    ] = 5,
) -> None:
    """Answer over HTTP and on a page. The champion is exchanged for a new one as soon as there is one (docs/serve.md).

    Examples: ilm serve; ILM_API_KEY=$(openssl rand -hex 32) ilm serve --host 0.0.0.0 --port 80
    """
    from flows.serve import serve as run
    from ilm.serve.api.limits import Limits

    limits = Limits(max_prompts=batch, max_waiting=queue, seconds=timeout, hosts=tuple(allow_host or ()))
    run(Path.cwd(), model, host, port, limits, follow)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    model: Model = "champion",
    users: Annotated[bool, typer.Option(help="With the users' histories, which are personal data.")] = True,
    language_model: Annotated[bool, typer.Option(help="With the frozen language model.")] = True,
) -> None:
    """Hand a model on: a folder with all it takes, code too; torch and transformers load it (docs/export.md).

    Example: ilm export my-model --no-users
    """
    from flows.export import export_model

    export_model(Path.cwd(), model, folder, users, language_model)


def _load(name: str) -> "ItemLanguageModel":
    """A registered model by its alias or number, or the one in a folder."""
    from flows.registry import named_bundle

    folder = named_bundle(Path.cwd(), name)
    from ilm.serve.item_language_model import ItemLanguageModel

    return ItemLanguageModel.from_pretrained(folder)
