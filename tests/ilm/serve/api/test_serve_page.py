"""The examples of docs/serve.md run as they stand, against a server with a tiny model."""

import re
import shutil
import subprocess

import httpx
import pytest

from tests.fake_project import ROOT

PAGE = (ROOT / "docs/serve.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_every_request_of_the_page_is_answered(address):
    requests = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("curl")]
    assert len(requests) == 5
    for request in requests:
        command = request.replace("localhost:8000", address.removeprefix("http://")).replace("items/1", "items/i1")
        command = command.replace('"user": "1"', '"user": "bob"') + " --fail"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout}"
        assert done.stdout.startswith(("{", "# HELP"))


def test_the_client_of_the_page_talks(address, capsys):
    (example,) = blocks("python")
    example = example.replace("http://localhost:8000", address).replace('user="1"', 'user="bob"')
    exec(compile(example, "docs/serve.md", "exec"), {})
    said = capsys.readouterr().out
    assert said.startswith("Try ")
    assert "from 1990 to 1999" in said


def test_the_page_names_what_the_server_answers(address):
    described = httpx.get(f"{address}/openapi.json").json()["paths"]
    assert {path.split("{")[0].rstrip("/") for path in described} >= {"/recommend", "/items", "/ready", "/metrics"}
    for path in ("/recommend", "/items/1", "/ready", "/metrics", "/v1/chat/completions"):
        assert path in PAGE
