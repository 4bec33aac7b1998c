"""`POST /recommend` and `GET /items/{id}` over HTTP: the model's own answers, and one message for every mistake."""

import json

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def post(client: httpx.Client, body: object) -> httpx.Response:
    return client.post("/recommend", json=body)


def test_answers_are_the_models_with_its_version(client, tiny_model):
    told = post(client, {"user": "alice", "k": 3}).json()
    assert (told["model"], told["version"]) == ("champion", "7")
    for item, wanted in zip(told["items"], tiny_model.rank(user="alice", k=3), strict=True):
        assert (item["item_id"], item["title"], item["cold"]) == (wanted.item_id, wanted.title, False)
        assert item["score"] == pytest.approx(wanted.score, abs=1e-4)


def test_history_filters_and_exclusions_hold(client, tiny_model):
    body = {
        "history": ["Heat (1995)", "i3"], "k": 99, "exclude_seen": False, "exclude": ["Ronin (1998)"],
        "where": {"genres": {"any": ["action"]}, "year": {"from": 1990, "to": 1999}},
    }  # fmt: skip
    assert {item["title"] for item in post(client, body).json()["items"]} == {"Heat (1995)", "Matrix, The (1999)"}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"user": "alicia"}, 404, "user 'alicia' is not among the 3 users of this model. Name titles instead."),
        ({"history": ["Heat (1996)"]}, 404, "Did you mean"),
        ({"history": ["Twin (1)"]}, 422, "title of 2 items"),
        ({"user": "bob", "exclude": ["gone"]}, 404, "no item has the title or id 'gone'"),
        ({}, 422, "either a user id or a history"),
        ({"user": "bob", "history": ["i0"]}, 422, "not both"),
        ({"user": "bob", "k": 0}, 422, "k: "),
        ({"user": "bob", "k": 1001}, 422, "k: "),
        ({"user": "bob", "k": "many"}, 422, "k: "),
        ({"user": ""}, 422, "user: "),
        ({"user": "x" * 501}, 422, "user: "),
        ({"user": 7}, 422, "user: "),
        ({"user": "bob", "colour": "red"}, 422, "colour: Extra inputs are not permitted"),
        ({"user": "bob", "where": {"gender": {"any": ["x"]}}}, 422, "There is: genres, year"),
        ({"user": "bob", "where": {"genres": {"any": ["Comdy"]}}}, 422, "no item has 'Comdy' among its genres"),
        ({"user": "bob", "where": {"genres": {"all": ["Drama"]}}}, 422, "where."),
        ({"user": "bob", "where": {"year": {"from": 0}}}, 422, "where."),
        ({"user": "bob", "model": "challenger"}, 404, "no model 'challenger' is served"),
        ({"user": "bob", "model": "../../etc/passwd"}, 404, "no model '../../etc/passwd' is served"),
        ([], 422, "body: "),
        ("user", 422, "body: "),
        (None, 422, "body: "),
        ({"history": ["i0"] * 1001}, 422, "history: "),
    ],
)
def test_a_mistake_is_one_message_in_one_form(client, body, status, message):
    answer = post(client, body)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert message in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == status


def test_other_users_are_not_told_of(client):
    assert "alice" not in post(client, {"user": "alicia"}).json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"user": "bob"', b"[" * 5_000, b'{"k": NaN}', b"\x00"])
def test_what_is_no_json_is_told(client, body):
    answer = client.post("/recommend", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["message"]


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40))
def test_no_name_of_whatever_characters_breaks_anything(address, name):
    with httpx.Client(base_url=address) as client:
        for body in ({"user": name}, {"history": [name]}, {"user": "bob", "where": {name: {"any": [name]}}}):
            assert post(client, body).status_code in (404, 422)


@pytest.mark.parametrize(
    "title", [".*", "Heat (1995", "(?i)heat", "[", "\\", "%s{}", "'; DROP TABLE items; --", "a" * 400]
)
def test_a_title_is_no_pattern(client, title):
    assert post(client, {"history": [title]}).status_code == 404


def test_an_item_is_told_by_id_and_by_title(client):
    by_id = client.get("/items/i1")
    assert by_id.json() == {
        "item_id": "i1", "title": "Ronin (1998)", "active": True, "genres": "Action, Thriller", "cold": False
    }  # fmt: skip
    assert client.get("/items/ronin (1998)").json() == by_id.json()


@pytest.mark.parametrize(
    "path", ["nothing", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%00", "%0d%0aX-Forged: 1", "%ff", "i1/../i2x"]
)
def test_no_path_leads_out_of_the_catalogue(client, path):
    answer = client.get(f"/items/{path}")
    assert answer.status_code == 404
    assert "x-forged" not in answer.headers


def test_scores_are_finite_json(client):
    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    json.loads(post(client, {"user": "bob", "k": 99}).text, parse_constant=refuse)
