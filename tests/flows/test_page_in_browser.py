"""The page of `ilm serve` in a real browser: somebody types, clicks and sees.

Chromium is not a dependency: where it is not installed, these tests are skipped, and that is said.
"""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.flows.test_serve import bundles, home, registry, serving  # noqa: F401

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or google-chrome in PATH"),
]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture
def address(home, registry) -> Iterator[str]:  # noqa: F811
    registry.set_alias("challenger", "2")
    with serving(home, "--follow", "0.2") as (_, url):
        yield url


@pytest.fixture
def page(address: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        made = browser.new_page(viewport=DESKTOP)
        made.requested, made.wrong = [], []
        made.on("request", lambda request: made.requested.append(request.url))
        made.on("pageerror", lambda error: made.wrong.append(str(error)))
        made.goto(address)
        yield made
        browser.close()


def say(page: Page, words: str) -> None:
    box = page.get_by_placeholder("What would you like?")
    box.fill(words)
    box.press("Enter")


def card(page: Page, title: str):
    return page.locator(".q-card").filter(has_text=title)


def test_somebody_talks_sees_cards_asks_why_and_edits_the_history(page: Page, address: str) -> None:
    say(page, "Something from the 90s")
    expect(page.locator(".q-message-name")).to_have_text("from 1990 to 1999")
    expect(page.locator(".q-card")).to_have_count(3)
    expect(card(page, "Ronin (1998)")).to_contain_text("Action, Thriller")

    card(page, "Ronin (1998)").get_by_text("Why?").click()
    expect(page.get_by_text("there is no history yet to explain anything by")).to_be_visible()

    card(page, "Ronin (1998)").get_by_text("I liked it").click()
    history = page.locator(".q-chip").filter(has_text="Ronin (1998)")
    expect(history).to_have_count(1)
    page.get_by_label("Add something you liked").fill("matrix re")
    page.locator(".q-chip").filter(has_text="Matrix Reloaded, The (2003)").click()
    expect(page.locator(".q-chip").filter(has_text="Matrix Reloaded, The (2003)")).to_have_count(1)

    card(page, "Heat (1995)").get_by_text("Why?").click()
    expect(page.locator(".q-dialog table")).to_contain_text("Ronin (1998)")
    page.locator(".q-dialog").get_by_text("Close").click()

    history.locator(".q-chip__icon--remove").click()
    expect(history).to_have_count(0)
    say(page, "older")
    expect(page.locator(".q-message-name").nth(1)).to_contain_text("or earlier")
    page.get_by_text("Begin anew").click()
    expect(page.locator(".q-message")).to_have_count(0)
    expect(page.locator(".q-card")).to_have_count(0)
    assert page.wrong == []
    assert all(url.startswith(address) for url in page.requested), "nothing is fetched from elsewhere"


def test_a_user_of_the_log_is_taken_over_and_a_stranger_is_told(page: Page) -> None:
    page.get_by_label("Or be a user of the log (id)").fill("alicia")
    page.get_by_text("Take over").click()
    expect(page.get_by_text("user 'alicia' is not among the 3 users")).to_be_visible()
    page.get_by_label("Or be a user of the log (id)").fill("alice")
    page.get_by_text("Take over").click()
    expect(page.locator(".q-chip").filter(has_text="Heat (1986)")).to_have_count(1)
    assert page.wrong == []


def test_champion_and_challenger_are_exchanged_at_a_click(page: Page, registry) -> None:  # noqa: F811
    expect(page.get_by_text("version 1")).to_be_visible()
    page.get_by_text("challenger", exact=True).click()
    expect(page.get_by_text("version 2")).to_be_visible()
    say(page, "Hello")
    expect(page.locator(".q-card")).to_have_count(3)
    registry.set_alias("champion", "2")
    page.get_by_text("champion", exact=True).click()
    page.wait_for_timeout(1_000)
    say(page, "Hello again")
    expect(page.get_by_text("version 2")).to_be_visible()


def test_without_a_challenger_nothing_is_to_be_chosen(page: Page, registry) -> None:  # noqa: F811
    expect(page.get_by_text("challenger", exact=True)).to_be_visible()
    registry.set_alias("challenger", None)
    page.wait_for_timeout(1_000)
    page.reload()
    expect(page.get_by_text("version 1")).to_be_visible()
    expect(page.get_by_text("challenger", exact=True)).not_to_be_visible()


def test_what_somebody_writes_is_text_and_no_markup(page: Page) -> None:
    say(page, "<img src=x onerror=document.title='forged'> <b>bold</b>")
    expect(page.locator(".q-message-sent")).to_contain_text("<b>bold</b>")
    expect(page.locator(".q-card")).to_have_count(3)
    assert page.title() == "Item-Language Model"


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_is_wider_than_the_screen(page: Page, size: dict[str, int]) -> None:
    page.set_viewport_size(size)
    page.get_by_label("Or be a user of the log (id)").fill("alice")
    page.get_by_text("Take over").click()
    say(page, f"Something like The Matrix, {'very ' * 30}please")
    expect(page.locator(".q-card")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
