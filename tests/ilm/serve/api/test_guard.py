"""Who may come in, by which name, and with how much."""

import base64
import socket
from collections.abc import Iterator

import httpx
import pytest

from ilm.serve.api.application import make_application
from ilm.serve.api.limits import Limits
from ilm.serve.api.served import Served, ServedModel
from tests.http_server import listening

KEY = "0123456789abcdef-:+"


@pytest.fixture(scope="module")
def guarded(tiny_model) -> Iterator[str]:
    served = Served()
    served.exchange(ServedModel(tiny_model, "7"))
    limits = Limits(max_bytes=1_000, hosts=("localhost", "127.0.0.1", "::1"))
    with listening(make_application(served, limits, KEY)) as url:
        yield url


def basic(words: str) -> str:
    return f"Basic {base64.b64encode(words.encode()).decode()}"


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer 0123456789abcdef", "Bearer \u00e9", KEY, basic("x"), basic("x:no"), "Basic %"],
)
def test_without_the_key_nothing_is_told(guarded, authorization):
    headers = {"Authorization": authorization.encode()}
    for path in ("/items/i1", "/metrics", "/docs", "/openapi.json", "/v1/models", "/nowhere"):
        answer = httpx.get(f"{guarded}{path}", headers=headers)
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
        assert answer.headers["www-authenticate"].startswith("Basic")


def test_who_is_refused_is_counted(guarded):
    for _ in range(2):
        assert httpx.get(f"{guarded}/items/i1").status_code == 401
    told = httpx.get(f"{guarded}/metrics", headers={"Authorization": f"Bearer {KEY}"}).text
    assert 'ilm_requests_total{route="other",status="401"}' in told


@pytest.mark.parametrize("authorization", [f"Bearer {KEY}", f"bearer {KEY}", basic(f"anna:{KEY}"), basic(f":{KEY}")])
def test_the_key_opens_in_each_form(guarded, authorization):
    assert httpx.get(f"{guarded}/items/i1", headers={"Authorization": authorization.encode()}).status_code == 200


def test_life_and_readiness_need_no_key(guarded):
    assert httpx.get(f"{guarded}/health").json() == {"status": "ok"}
    assert httpx.get(f"{guarded}/ready").json()["version"] == "7"


@pytest.mark.parametrize(("host", "status"), [
    ("localhost", 200), ("LOCALHOST:80", 200), ("127.0.0.1:1", 200), ("[::1]:80", 200), ("evil.example", 400),
    ("localhost.evil.example", 400), ("", 400), ("localhost@evil.example", 400),
])  # fmt: skip
def test_only_names_of_this_machine_are_served(guarded, host, status):
    assert httpx.get(f"{guarded}/health", headers={"Host": host}).status_code == status


def test_a_large_body_is_refused_before_it_is_read(guarded):
    headers = {"Authorization": f"Bearer {KEY}".encode(), "Content-Type": "application/json"}
    answer = httpx.post(f"{guarded}/recommend", content=b"x" * 1_001, headers=headers)
    assert answer.status_code == 413
    assert "larger than 1,000 bytes" in answer.json()["error"]["message"]


def test_a_large_body_that_does_not_say_so_is_cut_off(guarded):
    host, port = guarded.removeprefix("http://").split(":")
    head = f"POST /recommend HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic(f':{KEY}')}\r\n"
    head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(head.encode() + b"".join(b"100\r\n" + b"x" * 256 + b"\r\n" for _ in range(8)))
        told = line.recv(1_000)
        assert told.startswith(b"HTTP/1.1 413 ")
        assert b"larger than 1,000 bytes" in told
    assert httpx.get(f"{guarded}/health").status_code == 200


def test_a_length_that_is_none_is_refused(guarded):
    host, port = guarded.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n")
        assert b"HTTP/1.1 400" in line.recv(1_000)
