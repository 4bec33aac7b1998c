"""`ilm chat`: a conversation in the terminal."""

import sys
from collections.abc import Iterator

from flows.explanation_table import lines
from ilm.errors import LookupFailed
from ilm.serve.question import Reply
from ilm.serve.session import Session

HELP = """\
Say what you would like: "a comedy from the 90s", "something older", "not animated", "why this one?".
  /history         what is known of you
  /like ITEM       add to it: a title, an id, or the number of an item above
  /because ITEM    why it is recommended
  /reset           forget what was said; the history stays
  /help            this text
  /quit            end (or Ctrl-D)"""
LAST = 10
"""Items of a history that /history shows."""


def talk(session: Session) -> None:
    """Read messages from standard input and answer them, until it ends."""
    asked = sys.stdin.isatty()
    if asked:
        import readline  # noqa: F401  # gives `input` a memory and arrow keys

        print(f"{_who(session)} /help tells what you can say.")
    for words in _words("you> " if asked else ""):
        if words == "/quit":
            return
        try:
            for line in _answered(session, words):
                print(line, flush=True)
        except LookupFailed as error:
            print(f"  {error}")


def _words(prompt: str) -> Iterator[str]:
    """What is typed, line by line; empty lines are skipped."""
    while True:
        try:
            words = input(prompt).strip()
        except EOFError:
            return
        if words:
            yield words


def _answered(session: Session, words: str) -> Iterator[str]:
    command, _, rest = words.partition(" ")
    rest = rest.strip()
    if command == "/history":
        yield from _history(session)
    elif command == "/like" and rest:
        yield f"  noted: {session.like(rest)}"
    elif command == "/because" and rest:
        yield from (f"  {line}".rstrip() for line in lines(session.because(rest)))
    elif command == "/reset":
        session.reset()
        yield f"  forgotten. {_who(session)}"
    elif command.startswith("/"):
        yield HELP
    else:
        yield from _said(session.say(words))


def _said(reply: Reply) -> Iterator[str]:
    if reply.constraints:
        yield f"  ({reply.constraints})"
    said = reply.text.splitlines()
    if len(said) != len(reply.items):
        yield from (f"  {line}" for line in said)
        return
    for number, (line, item) in enumerate(zip(said, reply.items, strict=True), start=1):
        yield f"  {number}  {line}  [{item.score:.2f}]{' a guess: nobody has met it yet' if item.cold else ''}"


def _history(session: Session) -> list[str]:
    if not session.history:
        return ["  nothing yet. /like TITLE adds to it, and titles that you mention count."]
    titles = [session.title(item) for item in session.history[-LAST:]]
    more = len(session.history) - len(titles)
    return [*([f"  … and {more:,} before"] if more else []), *(f"  {title}" for title in titles)]


def _who(session: Session) -> str:
    known = len(session.history)
    return (
        f"{known:,} items are known of you." if known else "Nothing is known of you yet: name a few titles you liked."
    )
