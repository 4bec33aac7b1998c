"""The pages in a real browser: nothing is wider than a phone, and nothing is asked of any network.

Chromium is not a dependency: where it is not installed, these tests are skipped, and that is said.
"""

import http.server
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from ilm.report.benchmark_page import render_benchmark
from ilm.report.report import render
from tests.tiny_report import make_benchmark, make_metrics, make_showcase

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or google-chrome in PATH")
PHONE = 375
FRAME = """<!DOCTYPE html><body style="margin:0">
<iframe id="page" src="page.html" style="width:{width}px;height:800px;border:0"></iframe>
<script>
const frame = document.getElementById("page");
frame.addEventListener("load", () => {{
  const page = frame.contentDocument, root = page.documentElement;
  page.querySelectorAll("details").forEach(details => details.open = true);
  const wide = [...page.querySelectorAll("body *")].filter(
    one => one.getBoundingClientRect().right > {width} + 1 && !one.closest(".scroll, pre, svg"));
  document.body.dataset.scrolls = root.scrollWidth;
  document.body.dataset.wide = wide.map(one => one.tagName).join(" ");
  document.body.dataset.tables = page.querySelectorAll(".scroll > table").length;
}});
</script></body>"""


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    long = make_showcase()
    long["users"][0]["held_out"] = "Unbreakable" * 30
    long["users"][0]["recommended"] = ["Unbreakable" * 30]
    long["users"][0]["conversation"][0] |= {"ask": "Unbreakable" * 30, "answer": "Unbreakable" * 30}
    benchmark = make_benchmark()
    environment = {"system": "x" * 200}
    return {
        "report": render(make_metrics(), long, {"tiny": benchmark}),
        "benchmark": render_benchmark("tiny" * 30, benchmark, "ilm bench " + "x" * 200, environment, "a: 1", {}),
        "too wide": "<!DOCTYPE html><p style='width:600px'>wide</p>",
    }


class Server(http.server.ThreadingHTTPServer):
    """Gives out files by name, and remembers what it was asked for."""

    def __init__(self, files: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked = files, []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        found = self.server.files.get(self.path)
        self.send_response(200 if found is not None else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write((found or "").encode())

    def log_message(self, *words: object) -> None:
        pass


def shown(page: str, folder: Path, width: int = PHONE) -> tuple[dict[str, str], list[str]]:
    """What the browser says of the page in a frame of this width, and all that it asked the server for."""
    assert CHROMIUM is not None
    server = Server({"/": FRAME.format(width=width), "/page.html": page})
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--window-size=1280,900", "--dump-dom",
            "--virtual-time-budget=5000", f"http://127.0.0.1:{server.server_port}/",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    (body,) = re.findall(r"<body ([^>]*)>", done.stdout)
    return dict(re.findall(r'data-(\w+)="([^"]*)"', body)), server.asked


@pytest.mark.parametrize("name", ["report", "benchmark"])
@pytest.mark.parametrize("width", [PHONE, 1000])
def test_page_never_scrolls_sideways(pages: dict[str, str], tmp_path: Path, name: str, width: int) -> None:
    said, _ = shown(pages[name], tmp_path, width)
    assert int(said["tables"]) > 2, "the page was there when it was measured"
    assert said["wide"] == ""
    assert int(said["scrolls"]) <= width


def test_page_that_is_too_wide_is_noticed(pages: dict[str, str], tmp_path: Path) -> None:
    said, _ = shown(pages["too wide"], tmp_path)
    assert said["wide"] == "P"
    assert int(said["scrolls"]) > PHONE


def test_page_asks_for_nothing_but_itself(pages: dict[str, str], tmp_path: Path) -> None:
    _, asked = shown(pages["report"], tmp_path)
    assert set(asked) <= {"/", "/page.html", "/favicon.ico"}, "the icon is the browser's own wish"
    _, asked = shown(pages["report"] + '<img src="picture.png">', tmp_path)
    assert "/picture.png" in asked
