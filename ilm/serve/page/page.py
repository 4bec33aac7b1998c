"""How the page looks, and what its buttons do. NiceGUI draws it and brings all it needs along: it works offline."""

import warnings

from fastapi import FastAPI
from nicegui import ui
from nicegui.events import ValueChangeEventArguments

from ilm.errors import IlmError
from ilm.serve.api.problems import public_message
from ilm.serve.api.served import CHALLENGER, CHAMPION
from ilm.serve.page.cards import explanation_table, item_card
from ilm.serve.page.visit import Visit
from ilm.serve.question import Reply

EXAMPLES = ("Recommend something", "A comedy from the 90s", "Something older", "Why this one?")
"""Said at a click."""
COLUMN = "w-full gap-3 min-w-0"


def add_page(application: FastAPI) -> None:
    """Serve the page at `/` of an application that `make_application` made; once per process."""

    @ui.page("/", title="Item-Language Model", favicon="🎬")
    def page() -> None:
        try:
            visit = Visit(application.state.served, application.state.batcher)
        except IlmError as error:  # no model is loaded yet
            ui.label(str(error)).classes("m-8 text-lg")
            return
        _Page(visit).draw()

    # NiceGUI looks through all objects of the process once, and one of torch's warns when it is looked at.
    warnings.filterwarnings("ignore", "`torch.distributed.reduce_op` is deprecated", FutureWarning)
    ui.run_with(application, dark=None, show_welcome_message=False)


class _Page:
    """The widgets of one visit."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit

    def draw(self) -> None:
        with ui.header().classes("items-center justify-between px-4 py-2"):
            ui.label("Item-Language Model").classes("text-lg font-medium")
            with ui.row().classes("items-center gap-3"):
                self.version = ui.label().classes("text-sm opacity-80")
                self.choice = ui.toggle([CHAMPION, CHALLENGER], value=CHAMPION, on_change=self._choose)
                self.choice.props("dense no-caps color=white text-color=primary toggle-color=secondary")
        with ui.element("div").classes("w-full grid grid-cols-1 md:grid-cols-2 gap-6 max-w-6xl mx-auto"):
            with ui.column().classes(COLUMN):
                self._draw_chat()
            with ui.column().classes(COLUMN):
                self.cards = ui.column().classes("w-full gap-2")
                ui.separator()
                self._draw_history()
        self._show_version()
        self._show_history()
        with self.cards:
            ui.label("Items that answer you stand here.").classes("opacity-60")

    def _draw_chat(self) -> None:
        with ui.scroll_area().classes("w-full h-[50vh] border rounded") as self.talk:
            self.messages = ui.column().classes("w-full items-stretch gap-1")
        with ui.row().classes("w-full items-center no-wrap"):
            self.input = ui.input(placeholder="What would you like?").props("outlined dense autofocus").classes("grow")
            self.input.on("keydown.enter", lambda: self._say(self.input.value))
            self.send = ui.button(icon="send", on_click=lambda: self._say(self.input.value)).props("round dense")
        with ui.row().classes("gap-1"):
            for words in EXAMPLES:
                ui.chip(words, on_click=lambda words=words: self._say(words)).props("outline clickable dense")
            ui.chip("Begin anew", icon="restart_alt", on_click=self._begin_anew).props("clickable dense")

    def _draw_history(self) -> None:
        ui.label("What is known of you").classes("text-base font-medium")
        self.search = ui.input("Add something you liked", on_change=self._suggest).props("outlined dense clearable")
        self.search.classes("w-full")
        self.suggestions = ui.row().classes("w-full gap-1")
        with ui.row().classes("w-full items-center no-wrap"):
            self.user = ui.input("Or be a user of the log (id)").props("outlined dense").classes("grow")
            self.user.on("keydown.enter", self._become)
            ui.button("Take over", on_click=self._become).props("flat no-caps")
        with ui.element("div").classes("w-full max-h-64 overflow-y-auto"):
            self.history = ui.row().classes("w-full gap-1")

    async def _say(self, words: str) -> None:
        words = (words or "").strip()
        if not words or not self.send.enabled:  # one message at a time
            return
        self.input.value = ""
        self.send.disable()
        with self.messages:
            ui.chat_message(words, sent=True).props("bg-color=primary text-color=white")
            waiting = ui.spinner("dots", size="2em")
        self.talk.scroll_to(percent=1.0)
        try:
            self._show_reply(await self.visit.say(words))
        except IlmError as error:
            self._tell(error)
        finally:
            waiting.delete()
            self.send.enable()

    def _show_reply(self, reply: Reply) -> None:
        with self.messages:
            said = ui.chat_message(reply.text.splitlines() or [""], name=reply.constraints or None)
            said.props("bg-color=grey-3 text-color=black")
        self.talk.scroll_to(percent=1.0)
        self._show_version()
        self.cards.clear()
        with self.cards:
            for item in reply.items:
                facts = self.visit.found.model.item(item.item_id)
                item_card(item, facts, on_why=self._explain, on_like=self._like)
            if not reply.items:
                ui.label("Nothing fits.").classes("opacity-60")

    async def _explain(self, item_id: str) -> None:
        try:
            explained = await self.visit.explain(item_id)
        except IlmError as error:
            self._tell(error)
            return
        with ui.dialog() as dialog, ui.card().classes("max-w-full"):
            explanation_table(explained)
            ui.button("Close", on_click=dialog.close).props("flat no-caps")
        dialog.open()

    def _like(self, item_id: str) -> None:
        try:
            title = self.visit.session.like(item_id)
        except IlmError as error:
            self._tell(error)
            return
        self.search.value = ""
        self._show_history()
        ui.notify(f"{title} is in your history now.")

    def _suggest(self, event: ValueChangeEventArguments[str | None]) -> None:
        self.suggestions.clear()
        with self.suggestions:
            for item_id, title in self.visit.found.model.questions.search(event.value or ""):
                ui.chip(title, icon="add", on_click=lambda item_id=item_id: self._like(item_id)).props(
                    "clickable dense"
                )

    def _become(self) -> None:
        try:
            self.visit.become((self.user.value or "").strip())
        except IlmError as error:
            self._tell(error)
            return
        self._begin_anew()
        self._show_history()

    def _begin_anew(self) -> None:
        self.visit.session.reset()
        self.messages.clear()
        self.cards.clear()

    def _forget(self, place: int) -> None:
        del self.visit.session.history[place]
        self._show_history()

    async def _choose(self) -> None:
        try:
            await self.visit.choose(self.choice.value)
        except IlmError as error:
            self._tell(error)
            self.choice.value = self.visit.model_name
        self._show_version()

    def _show_version(self) -> None:
        self.version.text = f"version {self.visit.found.version}"
        self.choice.set_visibility(CHALLENGER in self.visit.models())

    def _show_history(self) -> None:
        self.history.clear()
        history = self.visit.session.history
        with self.history:
            if not history:
                ui.label("Nothing yet. Titles that you mention count, too.").classes("opacity-60")
            for place, item in reversed(list(enumerate(history))):
                chip = ui.chip(self.visit.session.title(item), removable=True).props("dense outline")
                chip.classes("max-w-full")
                chip.on_value_change(lambda place=place: self._forget(place))

    @staticmethod
    def _tell(error: IlmError) -> None:
        ui.notify(public_message(error), type="warning", multi_line=True, close_button=True)
