"""Who waits together is answered together, and nobody is held up, forgotten or answered for another."""

import asyncio
import threading
from collections.abc import Awaitable
from typing import Any

import pytest

from ilm.prompts.example import Example, Turn
from ilm.serve.api.batching import MAX_LENGTH, Batcher, Overloaded, TooLate
from ilm.serve.question import Question


class Echo:
    """Answers each question by itself; a pass ends when it is let to. "bad" cannot be answered."""

    def __init__(self, held: bool = False) -> None:
        self.passes: list[list[str]] = []
        self.go, self.begun = threading.Event(), threading.Event()
        if not held:
            self.go.set()

    def answer(self, questions: list[Any]) -> list[str]:
        self.passes.append([question.read(None) for question in questions])
        self.begun.set()
        assert self.go.wait(10)
        if any("bad" in words for words in self.passes[-1]):
            raise ValueError("bad")
        return [f"re: {words}" for words in self.passes[-1]]


def question(words: str, prompts: int = 1, prompt: str = "") -> Any:
    return Question((Example((Turn((prompt,)),)),) * prompts, lambda scores: words)


def run(main: Awaitable[Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, 20))  # type: ignore[arg-type]


async def begun(model: Echo) -> None:
    while not model.begun.is_set():
        await asyncio.sleep(0.001)


def test_what_comes_during_a_pass_goes_into_the_next_one_together() -> None:
    async def main() -> None:
        model, sizes = Echo(held=True), []
        batcher = Batcher(4, 100, 10, sizes.append)
        first = asyncio.create_task(batcher.ask(model, question("0")))
        await begun(model)
        others = [asyncio.create_task(batcher.ask(model, question(str(number)))) for number in range(1, 7)]
        await asyncio.sleep(0.01)
        assert len(batcher) == 6
        model.go.set()
        assert await first == "re: 0"
        assert await asyncio.gather(*others) == [f"re: {number}" for number in range(1, 7)]
        assert model.passes == [["0"], ["1", "2", "3", "4"], ["5", "6"]]
        assert sizes == [1, 4, 2]
        assert len(batcher) == 0

    run(main())


def test_prompts_are_counted_and_a_large_question_goes_alone() -> None:
    async def main() -> None:
        model = Echo(held=True)
        batcher = Batcher(4, 100, 10)
        tasks = [asyncio.create_task(batcher.ask(model, question("0")))]
        await begun(model)
        for words, prompts in (("3", 3), ("2", 2), ("9", 9), ("1", 1)):
            tasks.append(asyncio.create_task(batcher.ask(model, question(words, prompts))))
        await asyncio.sleep(0.01)
        model.go.set()
        await asyncio.gather(*tasks)
        assert model.passes == [["0"], ["3"], ["2"], ["9"], ["1"]]

    run(main())


def test_a_long_prompt_does_not_make_many_short_ones_as_long_as_itself() -> None:
    async def main() -> None:
        model = Echo(held=True)
        batcher = Batcher(32, 100, 10)
        tasks = [asyncio.create_task(batcher.ask(model, question("0")))]
        await begun(model)
        long = "\u4f60" * (MAX_LENGTH // 3 // 2)  # three bytes each: two such prompts fill a pass
        for words, prompt in (("a", long), ("b", "b"), ("c", "c"), ("d", "d"), ("e", long), ("f", long)):
            tasks.append(asyncio.create_task(batcher.ask(model, question(words, prompt=prompt))))
        await asyncio.sleep(0.01)
        model.go.set()
        await asyncio.gather(*tasks)
        assert model.passes == [["0"], ["a", "b"], ["c", "d"], ["e", "f"]]

    run(main())


def test_a_pass_asks_one_model_whose_questions_need_not_wait_side_by_side() -> None:
    async def main() -> None:
        old, new = Echo(held=True), Echo()
        batcher = Batcher(32, 100, 10)
        tasks = [asyncio.create_task(batcher.ask(old, question("a")))]
        await begun(old)
        asked = [(old, "b"), (new, "c"), (new, "d"), (old, "e")]
        tasks += [asyncio.create_task(batcher.ask(model, question(words))) for model, words in asked]
        await asyncio.sleep(0.01)
        old.go.set()
        assert await asyncio.gather(*tasks) == [f"re: {words}" for words in "abcde"]
        assert (old.passes, new.passes) == ([["a"], ["b", "e"]], [["c", "d"]])

    run(main())


def test_one_more_than_may_wait_is_refused_at_once() -> None:
    async def main() -> None:
        model = Echo(held=True)
        batcher = Batcher(1, 2, 10)
        tasks = [asyncio.create_task(batcher.ask(model, question("0")))]
        await begun(model)
        tasks += [asyncio.create_task(batcher.ask(model, question(words))) for words in "12"]
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded, match="2 requests wait already"):
            await batcher.ask(model, question("3"))
        model.go.set()
        assert await asyncio.gather(*tasks) == ["re: 0", "re: 1", "re: 2"]
        assert await batcher.ask(model, question("4")) == "re: 4"

    run(main())


def test_who_waits_too_long_is_told_and_not_answered_later() -> None:
    async def main() -> None:
        model = Echo(held=True)
        batcher = Batcher(1, 10, 0.05)
        with pytest.raises(TooLate, match=r"within 0\.05 seconds"):
            await asyncio.gather(batcher.ask(model, question("0")), batcher.ask(model, question("1")))
        model.go.set()
        assert await batcher.ask(model, question("2")) == "re: 2"
        assert ["1"] not in model.passes

    run(main())


def test_who_leaves_frees_the_place_and_the_model_is_not_asked() -> None:
    async def main() -> None:
        model = Echo(held=True)
        batcher = Batcher(1, 1, 10)
        first = asyncio.create_task(batcher.ask(model, question("0")))
        await begun(model)
        left = asyncio.create_task(batcher.ask(model, question("1")))
        await asyncio.sleep(0.01)
        left.cancel()
        await asyncio.sleep(0.01)
        stays = asyncio.create_task(batcher.ask(model, question("2")))
        await asyncio.sleep(0.01)
        model.go.set()
        assert [await first, await stays] == ["re: 0", "re: 2"]
        assert model.passes == [["0"], ["2"]]

    run(main())


def test_a_question_that_fails_takes_no_other_along() -> None:
    async def main() -> None:
        model = Echo(held=True)
        batcher = Batcher(8, 10, 10)
        first = asyncio.create_task(batcher.ask(model, question("0")))
        await begun(model)
        tasks = [asyncio.create_task(batcher.ask(model, question(words))) for words in ("1", "bad", "2")]
        await asyncio.sleep(0.01)
        model.go.set()
        assert await first == "re: 0"
        one, bad, two = await asyncio.gather(*tasks, return_exceptions=True)
        assert (one, two) == ("re: 1", "re: 2")
        assert isinstance(bad, ValueError)
        with pytest.raises(ValueError, match="bad"):
            await batcher.ask(model, question("bad"))

    run(main())
