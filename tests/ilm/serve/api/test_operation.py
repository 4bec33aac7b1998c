"""Life, readiness, metrics, and what happens when models come, go or fail."""

import concurrent.futures
import socket
import threading
import time

import httpx
import pytest

from ilm.errors import ArtifactError
from ilm.serve.api import served as served_models
from ilm.serve.api.application import make_application
from ilm.serve.api.limits import Limits
from ilm.serve.api.served import Served, ServedModel
from tests.fake_project import wait_until
from tests.http_server import listening


def test_before_there_is_a_model_it_lives_but_is_not_ready():
    with listening(make_application(Served(), Limits())) as url:
        assert httpx.get(f"{url}/health").status_code == 200
        for answer in (httpx.get(f"{url}/ready"), httpx.post(f"{url}/recommend", json={"user": "alice"})):
            assert (answer.status_code, answer.json()["error"]["type"]) == (503, "not_ready")
        assert httpx.get(f"{url}/v1/models").json()["data"] == []


def test_metrics_count_requests_by_route_and_not_by_what_is_written_there(client):
    for name in ("i1", "nothing", "else"):
        client.get(f"/items/{name}")
    client.get("/nowhere/at/all")
    told = client.get("/metrics").text
    assert 'ilm_requests_total{route="/items/{item_id:path}",status="404"}' in told
    assert "nothing" not in told
    assert 'route="other",status="404"' in told
    assert 'ilm_model_info{version="7"} 1.0' in told


def test_metrics_tell_that_a_newer_champion_is_not_served(tiny_model):
    served = Served()
    served.exchange(ServedModel(tiny_model, "7"))
    with listening(make_application(served, Limits())) as url:
        assert "ilm_champion_behind 0.0" in httpx.get(f"{url}/metrics").text
        served.problem = "version 8 does not load."
        assert "ilm_champion_behind 1.0" in httpx.get(f"{url}/metrics").text
        assert httpx.get(f"{url}/ready").json()["problem"] == "version 8 does not load."


def test_the_documentation_is_fetched_from_here_alone(client):
    page = client.get("/docs").text
    assert "https://" not in page
    assert client.get("/openapi.json").json()["info"]["title"] == "Item-Language Model"


def test_no_request_is_lost_while_models_are_exchanged(tiny_model, model_folder):
    from ilm import ItemLanguageModel

    other = ItemLanguageModel.from_pretrained(model_folder)
    served = Served()
    served.exchange(ServedModel(tiny_model, "0"))
    wanted = [item.item_id for item in tiny_model.rank(user="alice")]
    ended = threading.Event()

    def exchange() -> int:
        number = 0
        while not ended.is_set():
            number += 1
            served.exchange(ServedModel((tiny_model, other)[number % 2], str(number)))
            time.sleep(0.002)
        return number

    with listening(make_application(served, Limits())) as url, concurrent.futures.ThreadPoolExecutor(9) as pool:
        exchanging = pool.submit(exchange)

        def ask(number: int) -> tuple[int, list[str], str]:
            answer = httpx.post(f"{url}/recommend", json={"user": "alice"})
            told = answer.json()
            return answer.status_code, [item["item_id"] for item in told["items"]], told["version"]

        answers = list(pool.map(ask, range(100)))
        ended.set()
        assert exchanging.result() > 10
    assert {(status, tuple(items)) for status, items, _ in answers} == {(200, tuple(wanted))}
    assert len({version for _, _, version in answers}) > 3


def slow(tiny_model, go: threading.Event):
    """The model, whose answers wait for `go`."""

    class Slow:
        questions = tiny_model.questions

        def answer(self, questions):
            assert go.wait(20)
            return tiny_model.answer(questions)

    return Slow()


def test_overload_is_told_at_once_and_what_waits_is_answered(tiny_model):
    go, served = threading.Event(), Served()
    served.exchange(ServedModel(slow(tiny_model, go), "1"))
    application = make_application(served, Limits(max_prompts=1, max_waiting=2))
    with listening(application) as url, concurrent.futures.ThreadPoolExecutor(4) as pool:

        def ask() -> httpx.Response:
            return httpx.post(f"{url}/recommend", json={"user": "alice"}, timeout=30)

        waiting = [pool.submit(ask)]
        wait_until(lambda: application.state.batcher._worker is not None and len(application.state.batcher) == 0, 10)
        waiting += [pool.submit(ask), pool.submit(ask)]
        wait_until(lambda: len(application.state.batcher) == 2, 10)
        refused = ask()
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        go.set()
        assert [answer.result().status_code for answer in waiting] == [200, 200, 200]
        assert ask().status_code == 200


def test_an_answer_that_takes_too_long_is_a_504(tiny_model):
    go, served = threading.Event(), Served()
    served.exchange(ServedModel(slow(tiny_model, go), "1"))
    with listening(make_application(served, Limits(seconds=0.1))) as url:
        assert httpx.post(f"{url}/recommend", json={"user": "alice"}).status_code == 504
        go.set()
        wait_until(lambda: httpx.post(f"{url}/recommend", json={"user": "alice"}).status_code == 200, 10)


def test_who_is_being_answered_when_the_server_is_told_to_end_is_answered(tiny_model):
    go, served = threading.Event(), Served()
    served.exchange(ServedModel(slow(tiny_model, go), "1"))
    application = make_application(served, Limits(max_prompts=1))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with listening(application) as url:
            asked = [pool.submit(httpx.post, f"{url}/recommend", json={"user": "alice"}, timeout=30) for _ in range(2)]
            wait_until(lambda: len(application.state.batcher) == 1, 10)
            threading.Timer(0.3, go.set).start()  # the block ends, and with it the server, before
        assert [answer.result().status_code for answer in asked] == [200, 200]


def test_a_client_that_hangs_up_frees_its_place(tiny_model):
    go, served = threading.Event(), Served()
    served.exchange(ServedModel(slow(tiny_model, go), "1"))
    application = make_application(served, Limits(max_prompts=1, max_waiting=1))
    batcher = application.state.batcher
    with listening(application) as url, concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(httpx.post, f"{url}/recommend", json={"user": "alice"}, timeout=30)
        wait_until(lambda: batcher._worker is not None and len(batcher) == 0, 10)
        host, port = url.removeprefix("http://").split(":")
        line = socket.create_connection((host, int(port)))
        body = b'{"user": "bob"}'
        line.sendall(
            b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )
        wait_until(lambda: len(batcher) == 1, 10)
        line.close()
        wait_until(lambda: len(batcher) == 0, 10)
        go.set()
        assert first.result().status_code == 200


def test_a_defect_is_told_without_its_traceback(tiny_model):
    class Broken:
        questions = tiny_model.questions

        def answer(self, questions):
            raise RuntimeError("secret details")

    served = Served()
    served.exchange(ServedModel(Broken(), "1"))
    with listening(make_application(served, Limits())) as url:
        answer = httpx.post(f"{url}/recommend", json={"user": "alice"})
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert 'ilm_requests_total{route="/recommend",status="500"} 1.0' in httpx.get(f"{url}/metrics").text


def test_the_challenger_is_loaded_when_it_is_asked_for_and_once(tiny_model, monkeypatch):
    loads: list[str] = []

    def load() -> ServedModel:
        loads.append("load")
        if len(loads) == 1:
            raise ArtifactError("its files are gone.")
        return ServedModel(tiny_model, "8")

    served = Served(load)
    served.exchange(ServedModel(tiny_model, "7"))
    with listening(make_application(served, Limits())) as url:

        def ask() -> httpx.Response:
            return httpx.post(f"{url}/recommend", json={"user": "alice", "model": "challenger"})

        assert loads == []
        refused = ask()
        assert (refused.status_code, refused.json()["error"]["message"]) == (
            404,
            "there is no challenger now. its files are gone.",
        )
        assert ask().status_code == 404
        assert loads == ["load"], "a loader that fails is not asked again at every request"
        monkeypatch.setattr(served_models, "RETRY_SECONDS", 0.0)
        assert [ask().json()["version"], ask().json()["version"]] == ["8", "8"]
        assert len(loads) == 2
        served.forget_challenger(True)
        ask()
        assert len(loads) == 3


def test_champions_answer_while_many_wait_for_the_challenger(tiny_model):
    go, loading = threading.Event(), threading.Event()

    def load() -> ServedModel:
        loading.set()
        assert go.wait(20)
        return ServedModel(tiny_model, "8")

    served = Served(load)
    served.exchange(ServedModel(tiny_model, "7"))
    with listening(make_application(served, Limits())) as url, concurrent.futures.ThreadPoolExecutor(60) as pool:

        def ask(model: str) -> str:
            answer = httpx.post(f"{url}/recommend", json={"user": "alice", "model": model}, timeout=15)
            return answer.json()["version"]

        waiting = [pool.submit(ask, "challenger") for _ in range(60)]  # more than a server has threads
        try:
            assert loading.wait(10)
            assert ask("champion") == "7"
        finally:
            go.set()
        assert {answer.result() for answer in waiting} == {"8"}


def test_a_challenger_that_is_replaced_while_it_loads_is_not_served(tiny_model):
    go, loading = threading.Event(), threading.Event()
    versions = iter("89")

    def load() -> ServedModel:
        version = next(versions)
        loading.set()
        assert go.wait(20)
        return ServedModel(tiny_model, version)

    served = Served(load)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(served.get, "challenger")
        assert loading.wait(10)
        forgetting = pool.submit(served.forget_challenger, True)
        go.set()
        assert first.result().version == "8"
        forgetting.result()
    assert served.get("challenger").version == "9"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "TRACE"])
def test_other_methods_are_refused_in_the_same_form(client, method):
    answer = client.request(method, "/recommend")
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == 405
