"""The item space: axes, categories and neighbours, counted by hand and by an independent implementation."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from ilm.prompts.attributes import Attributes, attributes
from ilm.report import item_space as module
from ilm.report.item_space import (
    GRID,
    chance_share,
    item_categories,
    item_space,
    principal_plane,
    same_category_share,
)


def catalogue(active: list[bool] | None = None, **columns: list[str]) -> Attributes:
    count = len(next(iter(columns.values())))
    titles = [f"Item {number}" for number in range(count)]
    table = {"item_index": range(count), "title": titles, "active": active or [True] * count, **columns}
    return attributes(pa.table(table))


def cloud(count: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32) * np.arange(1, width + 1)


def test_plane_is_that_of_an_independent_principal_component_analysis() -> None:
    points, explained = principal_plane(cloud(50, 5))
    theirs = PCA(2).fit(cloud(50, 5))
    assert np.abs(points) == pytest.approx(np.abs(theirs.transform(cloud(50, 5))), abs=1e-3)
    assert explained == pytest.approx(theirs.explained_variance_ratio_.sum(), rel=1e-5)


def test_axes_point_where_their_largest_component_is_positive() -> None:
    line = np.array([[-3, 0, 0], [0, 0, 0], [3, 0, 0]], np.float32)
    assert principal_plane(line)[0][:, 0].tolist() == pytest.approx([-3, 0, 3])
    assert principal_plane(-line)[0][:, 0].tolist() == pytest.approx([3, 0, -3])


@pytest.mark.parametrize("vectors", [np.ones((4, 3)), np.arange(4.0)[:, None]])
def test_plane_of_what_has_no_second_axis_is_finite(vectors: np.ndarray) -> None:
    points, explained = principal_plane(vectors.astype(np.float32))
    assert np.isfinite(points).all()
    assert 0 <= explained <= 1


def test_two_tight_groups_have_neighbours_of_their_own_only() -> None:
    directions = np.array([[1, 0], [1, 0.01], [0, 1], [0.01, 1]], np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "NEIGHBOURS", 1)
        assert same_category_share(directions, np.array([0, 0, 1, 1])) == 1.0
        assert same_category_share(directions, np.array([0, 1, 0, 1])) == 0.0


def test_share_of_neighbours_agrees_with_another_search_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 7)
    vectors, category = cloud(60, 4), np.arange(60) % 3
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = NearestNeighbors(n_neighbors=11, metric="cosine").fit(vectors).kneighbors(vectors)[1][:, 1:]
    assert same_category_share(vectors, category) == pytest.approx((category[found] == category[:, None]).mean())


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12))
def test_chance_is_the_share_of_equal_pairs(category: list[int]) -> None:
    pairs = [a == b for i, a in enumerate(category) for j, b in enumerate(category) if i != j]
    assert chance_share(np.array(category)) == pytest.approx(np.mean(pairs))


def test_column_that_tells_items_apart_gives_the_categories() -> None:
    genres = ["War", "Drama|War", "Drama", "War", "Comedy", "Comedy"]
    column, values = item_categories(
        catalogue(genres=genres, made_by=[f"studio {n}" for n in range(6)], language=["en"] * 6)
    )
    assert column == "genres"
    assert values == ["War", "Drama", "Drama", "War", "Comedy", "Comedy"]


@pytest.mark.parametrize("columns", [{"language": ["en"] * 3}, {"code": ["a", "b", "c"]}, {"words": ["", "", ""]}])
def test_catalogue_without_categories_gives_a_picture_without_colours(columns: dict[str, list[str]]) -> None:
    space = item_space({"cf": cloud(3, 4)}, catalogue(**columns))
    assert (space["column"], space["groups"], space["chance"]) == (None, [], None)
    assert space["group_of"] == [-1, -1, -1]
    assert space["spaces"]["cf"]["same_category"] is None


def test_inactive_items_are_neither_drawn_nor_counted() -> None:
    known = catalogue(active=[True, True, True, False, True], genres=["War", "War", "Drama", "Horror", "Drama"])
    space = item_space({"cf": cloud(5, 3)}, known)
    assert (space["items"], space["drawn"]) == (4, 4)
    assert space["groups"] == ["Drama", "War"]
    assert space["group_of"] == [1, 1, 0, 0]
    assert space["chance"] == pytest.approx(1 / 3)


def test_each_space_has_points_on_the_grid_whatever_its_width() -> None:
    space = item_space({"cf": cloud(9, 3), "encoder": cloud(9, 7)}, catalogue(genres=["War"] * 4 + ["Drama"] * 5))
    assert list(space["spaces"]) == ["cf", "encoder"]
    for found in space["spaces"].values():
        assert len(found["points"]) == 9
        assert np.array(found["points"]).min() >= 0
        assert np.array(found["points"]).max() <= GRID


def test_large_catalogue_is_drawn_in_part_and_counted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_POINTS", 4)
    space = item_space({"cf": cloud(30, 3)}, catalogue(genres=["War", "Drama"] * 15))
    assert (space["items"], space["drawn"], len(space["spaces"]["cf"]["points"])) == (30, 4, 4)
    assert space["chance"] == pytest.approx(14 / 29)
