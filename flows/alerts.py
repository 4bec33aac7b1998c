"""Alerts: how a retrain ended is told to a command or a webhook, which the environment names.

ILM_ALERT_COMMAND gets the event as JSON on its standard input, ILM_ALERT_URL by POST. Both may hold a token, so neither
is ever printed. A hook that fails is said, and changes nothing. `python -m flows.alerts` sends an event to try them.
"""

import json
import os
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

if TYPE_CHECKING:
    from flows.retrain import Retrained

COMMAND, URL = "ILM_ALERT_COMMAND", "ILM_ALERT_URL"
EVENTS = {"promote": "promoted", "refuse": "refused", "underpowered": "underpowered", "error": "error"}
"""Outcome of a retrain -> event; of the others nobody is told. What ended without an outcome is `failed`."""
COMMAND_SECONDS = 30.0
"""After so long the command is killed."""
ANSWER_SECONDS = 10.0
"""So long a webhook may keep silent."""
PAUSES = (1.0, 4.0)
"""Seconds before the second try and before the third."""
LIMIT_SECONDS = 60.0
"""For a hook altogether."""
NOT_RETRIED = frozenset(range(300, 500)) - {408, 429}
"""HTTP answers that would be the same the next time."""

_Rest = ParamSpec("_Rest")


def sent(
    retrain: "Callable[Concatenate[Path, _Rest], Retrained]",
) -> "Callable[Concatenate[Path, _Rest], Retrained]":
    """Have a retrain tell how it ended. That another one is under way, or that it was cancelled, is no failure."""

    @wraps(retrain)
    def telling(home: Path, /, *rest: _Rest.args, **named: _Rest.kwargs) -> "Retrained":
        from flows.lease import LeaseHeld

        try:
            done = retrain(home, *rest, **named)
        except LeaseHeld:
            raise
        except Exception as error:
            send(home, "failed", reasons=[str(error) or type(error).__name__])
            raise
        if done.outcome in EVENTS:
            facts = asdict(done) | {"reasons": list(done.reasons)}
            send(home, EVENTS[done.outcome], **facts)
        return done

    return telling


def send(home: Path, event: str, *, reasons: list[str], **facts: Any) -> list[str]:
    """Tell every hook that the environment names.

    Args:
        home: the project's root folder.
        event: promoted, refused, underpowered, error, failed; or test.
        reasons: why, in sentences.
        facts: what else is known.

    Returns:
        What went wrong with the hooks; it has been printed.
    """
    told = {"event": event, "project": str(home.resolve()), "host": socket.gethostname(), "time": time.time()}
    body = json.dumps(told | {"reasons": reasons} | facts, default=str).encode()
    complaints = [
        f"{name}: {complaint}" for name, hook in HOOKS.items() if name in hooks() and (complaint := _tell(hook, body))
    ]
    for complaint in complaints:
        print(f"warning: alert '{event}' was not delivered. {complaint}", flush=True)
    return complaints


def hooks() -> list[str]:
    """The variables that name a hook."""
    return [name for name in HOOKS if os.environ.get(name, "").strip()]


def _tell(hook: Callable[[bytes], str | None], body: bytes) -> str | None:
    """Run a hook with a limit that holds whatever it waits for, such as a name server."""
    said: list[str | None] = []
    thread = threading.Thread(target=lambda: said.append(hook(body)), daemon=True)
    thread.start()
    thread.join(LIMIT_SECONDS)
    return said[0] if said else f"no end after {LIMIT_SECONDS:.0f} s, or a defect in the hook; it is not waited for."


def _run_command(body: bytes) -> str | None:
    """Give the event to the command. What it prints is dropped: it might be the token."""
    try:
        words = shlex.split(os.environ[COMMAND])
    except ValueError:
        return "its quotation marks do not match."
    try:
        command = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return f"the command cannot be started ({error.strerror})."
    try:
        command.communicate(body, timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(command.pid, signal.SIGKILL)
        command.communicate()
        return f"the command did not end within {COMMAND_SECONDS:.0f} s and was killed."
    return f"the command ended with exit code {command.returncode}." if command.returncode else None


class _NoRedirect(HTTPRedirectHandler):
    """Another address is not who was to be told, and following would tell it the token."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(body: bytes) -> str | None:
    """Post the event. No message of urllib is passed on: some of them quote the address."""
    address = os.environ[URL].strip()
    if not _is_http(address):
        return "it is no http or https address."
    complaint: str | None = None
    for pause in (0.0, *PAUSES):
        time.sleep(pause)
        try:
            request = Request(address, body, {"Content-Type": "application/json", "User-Agent": "ilm"})
            with build_opener(_NoRedirect).open(request, timeout=ANSWER_SECONDS):
                return None
        except HTTPError as error:
            complaint = f"the webhook answered with HTTP status {error.code}."
            if error.code in NOT_RETRIED:
                return complaint
        except URLError as error:
            known = isinstance(error.reason, OSError) and error.reason.strerror
            complaint = f"the webhook cannot be reached ({known or type(error.reason).__name__})."
        except Exception as error:  # of which kind depends on what the other side sends
            complaint = f"the webhook did not answer as it should ({type(error).__name__})."
    return f"{complaint} Tried {len(PAUSES) + 1} times."


def _is_http(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


HOOKS: dict[str, Callable[[bytes], str | None]] = {COMMAND: _run_command, URL: _post}
"""Variable -> what tells the hook that it names; gives what went wrong."""


if __name__ == "__main__":
    named = hooks()
    wrong = send(Path.cwd(), "test", reasons=["Somebody tries the alerts."])
    print(f"{len(named) - len(wrong)} of {len(named)} alerts delivered; named by {', '.join(named) or 'nothing'}")
    raise SystemExit(bool(wrong) or not named)
