"""The benchmarks by name: what data they want, with which settings, and the sizes that were published for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from ilm.data.coded_log import Counts


@dataclass(frozen=True)
class Benchmark:
    """One benchmark. Sizes are those of the k-core of all its data, however it is split; others are refused."""

    name: str
    source: str
    """The original distribution, as a value of `data.source`; a folder in the project's own form will do as well."""
    expected: str
    """What --data must name."""
    users: int
    items: int
    interactions: int
    published: str
    """By whom the sizes were published."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Section -> setting -> value, where it is not the default."""


_AMAZON = "reviews_{0}_5.json.gz and meta_{0}.json.gz (Amazon, edition of 2014), packed or not"
_NAMED = {"data": {"untitled_items": "name"}}
"""Published counts include items without a title."""
_LARGE_SASREC = {"sasrec": {"width": 128, "max_length": 200, "epochs": 100, "warmup": 100}}
"""For a GPU."""

BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "movielens-small", "movielens-small", "nothing: the data are built in", 671, 3_496, 90_072,
            "counted here, MovieLens latest-small of October 2016, items and users with 5 ratings",
        ),
        Benchmark(
            "ml-1m", "movielens-1m", "ml-1m.zip, or the folder with ratings.dat and movies.dat that it holds",
            6_040, 3_416, 999_611, "OpenP5 (arXiv 2306.11134)", {**_NAMED, **_LARGE_SASREC},
        ),
        Benchmark(
            "beauty", "amazon", _AMAZON.format("Beauty"), 22_363, 12_101, 198_502, "OpenP5 (arXiv 2306.11134)", _NAMED
        ),
        Benchmark(
            "clothing", "amazon", _AMAZON.format("Clothing_Shoes_and_Jewelry"), 39_387, 23_033, 278_677,
            "OpenP5 (arXiv 2306.11134)", _NAMED,
        ),
    )
}  # fmt: skip


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in BENCHMARKS:
        raise ConfigError(f"no benchmark is called {name!r}. There are: {', '.join(BENCHMARKS)}.")
    return BENCHMARKS[name]


def data_settings(benchmark: Benchmark, place: Path | None) -> dict[str, Any]:
    """Settings of section `data` for what lies at `place`: the original distribution, or the project's own form.

    Raises:
        ConfigError: a place is missing, or was given where the data are built in.
        DataError: nothing of the kind lies there.
    """
    from ilm.data.folder import FORMATS, has_file
    from ilm.data.loaders.amazon import find_amazon
    from ilm.data.loaders.movielens_1m import find_movielens_1m

    if benchmark.source == "movielens-small":
        if place is not None:
            raise ConfigError(f"{benchmark.name}: its data are built in. Leave out --data.")
        return {"source": benchmark.source}
    if place is None:
        raise ConfigError(f"{benchmark.name}: say where the data are: --data {benchmark.expected}.")
    if not place.exists():
        raise DataError(f"{place}: not found. {benchmark.name} needs {benchmark.expected}.")
    place = place.resolve()
    if has_file(place, "interactions"):
        return {"source": "folder", "folder": str(place)}
    found = find_movielens_1m(place) if benchmark.source == "movielens-1m" else find_amazon(place)
    if found is None:
        there = sorted(path.name for path in place.iterdir())[:10] if place.is_dir() else ["one file"]
        raise DataError(
            f"{place}: not the data of {benchmark.name}. Needed: {benchmark.expected}; or interactions and items as "
            f"{', '.join(FORMATS)} (docs/your-data.md). There: {', '.join(there) or 'nothing'}."
        )
    return {"source": benchmark.source, "folder": str(found if isinstance(found, Path) else place)}


def require_sizes(benchmark: Benchmark, counts: "Counts") -> None:
    """Refuse data of other sizes than the published ones: results could not be laid beside others.

    Raises:
        DataError: saying what was found and what should be.
    """
    found = (counts.users, counts.items, counts.interactions)
    published = (benchmark.users, benchmark.items, benchmark.interactions)
    if found != published:
        told = ["{:,} users, {:,} items, {:,} interactions".format(*sizes) for sizes in (found, published)]
        raise DataError(
            f"{benchmark.name}: after the k-core there are {told[0]}; it should be {told[1]} ({benchmark.published}). "
            "Is it another edition, or filtered already, or not the whole file? --data must name "
            f"{benchmark.expected}. For other data, set up a project (docs/your-data.md) and run `ilm bench project`."
        )
