"""`python -m benchmarks.pictures`: pictures for docs/, of this project's champion. Needs Chromium."""

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from ilm.errors import ArtifactError

PICTURES = Path("docs/pictures")
WORDS = ("A comedy from the 90s, not animated", "Why the second one?", "Something older")


def main() -> None:
    """Serve the champion, talk to it as user 42, and take a picture of the page."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise ArtifactError("no Chromium in PATH. Install it (Debian: chromium).")
    command = [sys.executable, "-m", "flows.cli", "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = next(line.split()[1] for line in process.stdout if line.startswith("serve  "))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(address)
            _talk(page)
            PICTURES.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=PICTURES / "page.png")
            browser.close()
    finally:
        process.terminate()
        process.wait()


def _talk(page: Page) -> None:
    page.get_by_label("Or be a user of the log (id)").fill("42")
    page.get_by_text("Take over").click()
    box = page.get_by_placeholder("What would you like?")
    for number, words in enumerate(WORDS, start=1):
        box.fill(words)
        box.press("Enter")
        page.locator(".q-message-received").nth(number - 1).wait_for()
    page.wait_for_timeout(1_000)


if __name__ == "__main__":
    main()
