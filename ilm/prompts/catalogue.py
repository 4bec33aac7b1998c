"""Items by what people call them: ids and titles that are given, and titles that stand in free text."""

import difflib
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilm.errors import LookupFailed, UnknownName

_YEAR = re.compile(r"\s*\(\d{4}\)$")
_ARTICLE = re.compile(r"^(.+), (The|An|A)$")
_SENTENCE_START = re.compile(r"(?:^|[.!?:]\s+)$")


@dataclass(frozen=True)
class Mention:
    """What a text names from character `start` to `end`: one item, or all that have the same title."""

    start: int
    end: int
    items: tuple[int, ...]


class Catalogue:
    """Titles and ids of all items by index; `active` bool [n]: whether an item may be recommended and named."""

    def __init__(self, item_ids: Sequence[str], titles: Sequence[str], active: NDArray[np.bool_]) -> None:
        self.item_ids, self.titles, self.active = list(item_ids), list(titles), active
        self._by_id = {item_id: index for index, item_id in enumerate(self.item_ids)}
        self._by_title: dict[str, list[int]] = {}
        spelled: dict[str, set[int]] = {}
        for index in np.flatnonzero(active).tolist():
            self._by_title.setdefault(self.titles[index].casefold(), []).append(index)
            for spelling in _spellings(self.titles[index]):
                spelled.setdefault(spelling.casefold(), set()).add(index)
        self._spelled = {spelling: tuple(items) for spelling, items in spelled.items() if len(items) == 1}
        self._spelled |= {title: tuple(items) for title, items in self._by_title.items()}
        self._longest: dict[str, int] = {}  # of the titles that begin with a letter
        for spelling in self._spelled:
            self._longest[spelling[:1]] = max(self._longest.get(spelling[:1], 0), len(spelling))

    def find(self, wanted: str) -> int:
        """The item of a title (any case) or, failing that, of an item id.

        Raises:
            UnknownName: no item has it.
            LookupFailed: several have it.
        """
        matches = self._by_title.get(wanted.strip().casefold(), [])
        if len(matches) > 1:
            ids = ", ".join(self.item_ids[index] for index in matches)
            raise LookupFailed(f"'{wanted}' is the title of {len(matches)} items. Name one of their ids: {ids}.")
        if matches:
            return matches[0]
        if wanted in self._by_id:
            return self._by_id[wanted]
        folded = wanted.strip().casefold()
        near = [title for title in self._by_title if folded and folded in title][:3]
        near = near or difflib.get_close_matches(folded, self._by_title, n=3, cutoff=0.5)
        hint = (
            f"Did you mean {' or '.join(repr(self.titles[self._by_title[title][0]]) for title in near)}?"
            if near
            else ""
        )
        raise UnknownName(f"no item has the title or id '{wanted}'. {hint or 'Titles include the year: Heat (1995).'}")

    def search(self, words: str, count: int) -> list[int]:
        """Active items whose title contains the words, in any case; those that begin with them and short ones first."""
        folded = words.strip().casefold()
        found = [title for title in self._by_title if folded in title] if folded else []
        found.sort(key=lambda title: (not title.startswith(folded), len(title), title))
        return [item for title in found[:count] for item in self._by_title[title]][:count]

    def mentions(self, text: str) -> list[Mention]:
        """The items that a text names, from left to right, the longest title first where several begin.

        A title counts in any case; and, where this leaves one item only, without its year and with its article before
        instead of behind ("The Matrix" for "Matrix, The (1999)"). One word without a year must be written as in the
        catalogue and not begin a sentence: "it" is no film, "speed" is none either.
        """
        edges = [at for at in range(len(text) + 1) if _is_edge(text, at)]
        found: list[Mention] = []
        for position, start in enumerate(edges[:-1]):
            if found and start < found[-1].end:
                continue
            longest = self._longest.get(text[start].casefold()[:1], 0)
            for end in reversed(edges[position + 1 : bisect_right(edges, start + longest)]):
                items = self._spelled.get(text[start:end].casefold())
                if items and self._is_meant(text, start, end, items[0]):
                    found.append(Mention(start, end, items))
                    break
        return found

    def _is_meant(self, text: str, start: int, end: int, item: int) -> bool:
        words = text[start:end]
        if " " in words:
            return True
        return words in _spellings(self.titles[item]) and not _SENTENCE_START.search(text[:start])


def _spellings(title: str) -> list[str]:
    """A title as people write it: `Matrix, The (1999)`, `The Matrix (1999)`, `Matrix, The`, `The Matrix`."""
    year = _YEAR.search(title)
    name, suffix = (title[: year.start()], year.group()) if year else (title, "")
    names = [name]
    article = _ARTICLE.match(name)
    if article:
        names.append(f"{article[2]} {article[1]}")
    return [spelled for name in names if name for spelled in dict.fromkeys((name + suffix, name))]


def _is_edge(text: str, at: int) -> bool:
    """Whether a title may begin or end before character `at`: not inside a word."""
    return at in (0, len(text)) or not (text[at - 1].isalnum() and text[at].isalnum())
