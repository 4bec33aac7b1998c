"""An explanation as lines of text: the items of the history that count most, and those most like the item."""

from ilm.serve.explanation import Explanation, HistoryItem

SHOWN = 5
WIDTH = 46


def lines(explained: Explanation) -> list[str]:
    """A head line, and a table of at most SHOWN items by what they add, and as many by each likeness."""
    history = explained.history
    adding = sorted((item for item in history if item.contribution is not None), key=lambda i: -(i.contribution or 0))
    near = sorted(history, key=lambda item: -item.similarity)
    alike = sorted((item for item in history if item.text_similarity > 0), key=lambda item: -item.text_similarity)
    place = f"rank {explained.rank:,} of what was not seen" if explained.score else ""
    out = [f"{explained.title}  score {explained.score:.3f}, {place}"]
    if adding:
        out += ["", "what the score loses without an item of the history"]
        out += [_row(item, f"{item.contribution:+.3f}") for item in adding[:SHOWN]]
    out += ["", "nearest in the history, by the encoder (cosine)"]
    out += [_row(item, f"{item.similarity:+.3f}") for item in near[:SHOWN]]
    if alike:
        out += ["", "nearest in the history, by words (cosine)"]
        out += [_row(item, f"{item.text_similarity:+.3f}") for item in alike[:SHOWN]]
    return out


def _row(item: HistoryItem, value: str) -> str:
    title = item.title if len(item.title) <= WIDTH else f"{item.title[: WIDTH - 1]}…"
    return f"  {title:<{WIDTH}}  {value}"
