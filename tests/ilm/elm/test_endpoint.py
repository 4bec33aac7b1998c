"""Against a real server on this machine that speaks chat completions, and refuses as real ones do."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ilm.elm.endpoint import EndpointTeacher, Pace
from ilm.errors import ConfigError

KEY = "sk-very-secret"


class Server(ThreadingHTTPServer):
    """Answers a question with its own words; `refusals` come first, one each, with their status."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refusals: list[int] = []
        self.finish = "stop"
        self.received: list[tuple[str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.received.append((self.path, body))
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self._send(401, {"error": {"message": f"wrong key: {self.headers['Authorization']}"}})
        elif self.server.refusals:
            self._send(self.server.refusals.pop(0), {"error": {"message": "busy"}})
        else:
            said = {"role": "assistant", "content": f" You asked: {body['messages'][0]['content']}. And th"}
            choice = {"index": 0, "message": said, "finish_reason": self.server.finish}
            self._send(200, {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    pytest.importorskip("openai", reason="the extra `teacher` is not installed")
    monkeypatch.setenv("THE_KEY", KEY)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def teacher(server: Server, key: str = "THE_KEY") -> EndpointTeacher:
    options = {"max_tokens": 5, "temperature": 0}
    return EndpointTeacher("some-model", server.url, key, requests_per_minute=600_000, options=options)


def test_answers_come_in_the_order_of_the_questions(server: Server) -> None:
    questions = [f"question {number}" for number in range(9)]
    assert teacher(server).answer(questions) == [f"You asked: {question}. And th" for question in questions]


def test_request_has_the_model_the_question_and_the_options(server: Server) -> None:
    teacher(server).answer(["Why"])
    ((path, body),) = server.received
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "some-model", "messages": [{"role": "user", "content": "Why"}], "max_tokens": 5, "temperature": 0,
    }  # fmt: skip


def test_busy_or_failing_server_is_asked_again(server: Server) -> None:
    server.refusals = [429, 503, 500]
    assert teacher(server).answer(["Why"]) == ["You asked: Why. And th"]
    assert len(server.received) == 4


def test_answer_that_was_cut_off_ends_with_a_whole_sentence(server: Server) -> None:
    server.finish = "length"
    assert teacher(server).answer(["Why"]) == ["You asked: Why."]


def test_server_that_stays_busy_ends_the_run_with_a_message(server: Server) -> None:
    server.refusals = [429] * 20
    with pytest.raises(
        ConfigError, match=r"some-model: RateLimitError: .*busy.* goes on with what is still to be asked"
    ):
        teacher(server).answer(["Why"])


def test_wrong_key_is_not_tried_again_and_no_key_is_ever_shown(
    server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WRONG", "sk-wrong-and-secret")
    with pytest.raises(ConfigError, match=r"AuthenticationError.*wrong key: Bearer \*\*\*") as raised:
        teacher(server, "WRONG").answer(["Why"])
    assert len(server.received) == 1
    shown = str(raised.value) + repr(raised.value.__cause__) + "".join(capfd.readouterr())
    assert "secret" not in shown


def test_identity_names_model_and_address_and_no_key(server: Server) -> None:
    found = teacher(server).identity
    assert found == {
        "teacher": "endpoint", "model": "some-model", "endpoint": server.url, "max_tokens": "5", "temperature": "0",
    }  # fmt: skip


def test_key_that_is_not_set_is_named_by_its_variable(server: Server) -> None:
    with pytest.raises(ConfigError, match="variable NO_KEY"):
        teacher(server, "NO_KEY")


def test_pace_leaves_even_distances_and_counts_idle_time() -> None:
    now, waits = [100.0], []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    pace = Pace(30, clock=lambda: now[0], sleep=sleep)  # every 2 s
    pace.wait()
    pace.wait()
    now[0] += 0.5
    pace.wait()
    now[0] += 60.0
    pace.wait()
    assert waits == [2.0, 1.5]


def test_requests_that_are_tried_again_keep_the_pace_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    passed = []
    monkeypatch.setattr(Pace, "wait", lambda self: passed.append(self))
    server.refusals = [429, 429]
    teacher(server).answer(["Why"])
    assert len(passed) == len(server.received) == 3
