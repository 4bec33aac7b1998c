"""Alerts against true commands and true web servers on loopback; and what never may be printed."""

import json
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows import alerts
from flows.alerts import COMMAND, URL, send, sent
from flows.lease import LeaseHeld
from flows.retrain import Retrained
from ilm.errors import IlmError
from tests.fake_project import ROOT, run

TOKEN = "token-4711"


@pytest.fixture(autouse=True)
def no_hook_and_no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(COMMAND, raising=False)
    monkeypatch.delenv(URL, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(alerts, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(alerts, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(alerts, "COMMAND_SECONDS", 5.0)


@dataclass
class Webhook:
    """A web server that answers as told, and remembers what it was sent."""

    answers: list[int]
    location: str = ""
    bodies: list[bytes] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    hook = Webhook([200])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(hook.answers[min(len(hook.bodies), len(hook.answers)) - 1])
            if hook.location:
                self.send_header("Location", hook.location)
            self.end_headers()

        do_GET = do_POST  # noqa: N815  the name that http.server calls

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.address = f"http://127.0.0.1:{server.server_port}/{TOKEN}?key={TOKEN}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield hook
    server.shutdown()
    thread.join()
    server.server_close()


def command(code: str) -> str:
    return f"{sys.executable} -c '{code}' --header {TOKEN}"


def done(outcome: str) -> Retrained:
    return Retrained("run-1", outcome, ("Because.",), 7, 0, version="3", champion="2")


def test_webhook_gets_the_event_as_json(webhook: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, webhook.address)
    assert send(tmp_path, "failed", reasons=["No room."], run="run-1") == []
    (body,) = webhook.bodies
    event = json.loads(body)
    assert {key: event[key] for key in ("event", "project", "host", "reasons", "run")} == {
        "event": "failed",
        "project": str(tmp_path),
        "host": socket.gethostname(),
        "reasons": ["No room."],
        "run": "run-1",
    }


def test_command_gets_the_event_on_its_standard_input_and_no_shell_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "told; touch here"
    monkeypatch.setenv(COMMAND, command(f'import sys; open("{out}", "w").write(sys.stdin.read())'))
    assert send(tmp_path, "failed", reasons=["$(touch /tmp/x); `id`"]) == []
    assert json.loads(out.read_text())["reasons"] == ["$(touch /tmp/x); `id`"]
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize(
    ("outcome", "event"),
    [("promote", "promoted"), ("refuse", "refused"), ("underpowered", "underpowered"), ("error", "error")],
)
def test_outcome_is_told(webhook: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome, event) -> None:
    monkeypatch.setenv(URL, webhook.address)
    assert sent(lambda home: done(outcome))(tmp_path) == done(outcome)
    told = json.loads(webhook.bodies[0])
    assert (told["event"], told["version"], told["champion"], told["reasons"]) == (event, "3", "2", ["Because."])


@pytest.mark.parametrize("error", [IlmError("No room."), ZeroDivisionError("No room.")])
def test_failure_is_told_and_raised(
    webhook: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setenv(URL, webhook.address)
    with pytest.raises(type(error)):
        sent(raising(error))(tmp_path)
    told = json.loads(webhook.bodies[0])
    assert (told["event"], told["reasons"]) == ("failed", ["No room."])


@pytest.mark.parametrize("error", [LeaseHeld("Another one is at it."), KeyboardInterrupt()])
def test_neither_a_second_retrain_nor_a_cancelled_one_is_a_failure(
    webhook: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setenv(URL, webhook.address)
    with pytest.raises(type(error)):
        sent(raising(error))(tmp_path)
    assert webhook.bodies == []


def test_too_little_data_is_no_news(webhook: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, webhook.address)
    sent(lambda home: done("too_little"))(tmp_path)
    assert webhook.bodies == []


def test_webhook_that_is_busy_for_a_moment_is_told(
    webhook: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL, webhook.address)
    webhook.answers = [503, 429, 200]
    assert send(tmp_path, "failed", reasons=[]) == []
    assert len(webhook.bodies) == 3


def test_webhook_is_not_followed_elsewhere_with_its_token(
    webhook: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL, webhook.address)
    webhook.answers, webhook.location = [302], webhook.address
    (complaint,) = send(tmp_path, "failed", reasons=[])
    assert "HTTP status 302" in complaint
    assert len(webhook.bodies) == 1


def unanswering() -> str:
    """Address of a server that takes calls and says nothing, for as long as the test process lives."""
    server = socket.create_server(("127.0.0.1", 0))
    SILENT.append(server)
    return f"http://127.0.0.1:{server.getsockname()[1]}/{TOKEN}"


SILENT: list[socket.socket] = []


@pytest.mark.parametrize(
    ("name", "hook", "complaint"),
    [
        (URL, "http://127.0.0.1:1/" + TOKEN, "cannot be reached (Connection refused). Tried 3 times."),
        (URL, "http://127.0.0.1:x/" + TOKEN, "it is no http or https address"),
        (URL, "http://[::1/" + TOKEN, "it is no http or https address"),
        (URL, f"http://127.0.0.1:1/a {TOKEN}", "InvalidURL"),
        (URL, "file:///" + TOKEN, "it is no http or https address"),
        (URL, TOKEN, "it is no http or https address"),
        (URL, None, "the webhook did not answer as it should (TimeoutError). Tried 3 times."),
        (COMMAND, f"/nowhere/tell {TOKEN}", "cannot be started (No such file or directory)"),
        (COMMAND, f"tell '{TOKEN}", "its quotation marks do not match"),
        (COMMAND, command("import sys; print(sys.argv); sys.exit(3)"), "ended with exit code 3"),
        (COMMAND, command("import time; time.sleep(60)"), "did not end within 1 s and was killed"),
    ],
)
def test_broken_hook_is_said_without_the_secret_and_the_retrain_ends_as_it_would(
    name: str,
    hook: str | None,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(alerts, "COMMAND_SECONDS", 1.0)
    monkeypatch.setenv(name, hook or unanswering())
    assert sent(lambda home: done("promote"))(tmp_path) == done("promote")
    printed = "".join(capfd.readouterr())
    assert printed.startswith(f"warning: alert 'promoted' was not delivered. {name}: ")
    assert complaint in printed
    assert TOKEN not in printed
    with pytest.raises(IlmError, match="No room."):
        sent(raising(IlmError("No room.")))(tmp_path)


def test_webhook_that_trickles_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, and the answer never ends."""
    monkeypatch.setattr(alerts, "LIMIT_SECONDS", 0.5)
    ended = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def trickle() -> None:
        caller, _ = server.accept()
        caller.send(b"HTTP/1.1 200 OK\r\nX: ")
        while not ended.wait(0.05):
            caller.send(b"x")
        caller.close()

    thread = threading.Thread(target=trickle)
    thread.start()
    monkeypatch.setenv(URL, f"http://127.0.0.1:{server.getsockname()[1]}/{TOKEN}")
    (complaint,) = send(tmp_path, "failed", reasons=[])
    ended.set()
    thread.join()
    server.close()
    assert "it is not waited for" in complaint


def test_one_broken_hook_does_not_keep_the_other_from_being_told(
    webhook: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(COMMAND, "/nowhere/tell")
    monkeypatch.setenv(URL, webhook.address)
    assert len(send(tmp_path, "failed", reasons=[])) == 1
    assert len(webhook.bodies) == 1


def test_hooks_can_be_tried_by_hand(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(ROOT, "-m", "flows.alerts").returncode == 1, "nothing is named"
    monkeypatch.setenv(URL, webhook.address)
    tried = run(ROOT, "-m", "flows.alerts")
    assert (tried.returncode, tried.stdout) == (0, "1 of 1 alerts delivered; named by ILM_ALERT_URL\n")
    assert json.loads(webhook.bodies[0])["event"] == "test"
    webhook.answers = [401]
    tried = run(ROOT, "-m", "flows.alerts")
    assert tried.returncode == 1
    assert TOKEN not in tried.stdout + tried.stderr


def raising(error: BaseException):
    def retrain(home: Path) -> Retrained:
        raise error

    return retrain
