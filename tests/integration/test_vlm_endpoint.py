"""A model behind a URL: a real service on loopback that decodes each picture and looks at it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from http_peer import http_peer
from processes import HOST, free_port
from sighted import Sighted
from vlm_server import VlmServer, vlm_server

from vb_node.applications.virtual_biopsy.localizer import API_KEY, Localizer, open_endpoint
from vb_node.applications.virtual_biopsy.vlm.corner import CORNERS, draw
from vb_node.applications.virtual_biopsy.vlm.endpoint import TRIES, Busy, Endpoint
from vb_node.applications.virtual_biopsy.vlm.formats import FORMATS
from vb_node.config import VirtualBiopsySettings, VlmSettings
from vb_node.errors import ConfigError, Later, NoAnswer, Unreachable
from vb_node.models.vision_language import Question

QUESTION = Question(draw(CORNERS[0], 32), "Answer with JSON only.", "Where?")


@pytest.fixture
def server() -> Iterator[VlmServer]:
    with vlm_server() as server:
        yield server


def _endpoint(url: str, **values: object) -> Endpoint:
    settings = VlmSettings(url=url, served_model="sighted", timeout_s=5, batch=4, **values)
    return replace(open_endpoint(settings), sleep=lambda seconds: None)


def test_questions_are_answered_each_in_its_place(server: VlmServer) -> None:
    questions = [replace(QUESTION, picture=draw(corner, 32)) for corner in (*CORNERS, CORNERS[0])]

    answers = _endpoint(server.url).ask(questions)

    assert answers == [Sighted().answer(question.picture) for question in questions]
    assert answers[0] == answers[2] != answers[1]


def test_a_request_is_greedy_and_bounded(server: VlmServer) -> None:
    _endpoint(server.url).ask([QUESTION])

    asked = json.loads(server.came[0][2])
    assert (asked["model"], asked["temperature"], asked["seed"], asked["max_tokens"]) == ("sighted", 0, 0, 128)
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]


def test_a_busy_service_is_asked_again(server: VlmServer) -> None:
    server.first = [503, 429]

    answers = _endpoint(server.url).ask([QUESTION])

    assert len(answers) == 1
    assert len(server.came) == TRIES


def test_a_service_that_stays_busy_is_tried_later(server: VlmServer) -> None:
    server.first = [503] * TRIES

    with pytest.raises(Busy, match="HTTP 503"):
        _endpoint(server.url).ask([QUESTION])


def test_a_service_that_is_not_there_is_tried_later() -> None:
    with pytest.raises(Unreachable):
        _endpoint(f"http://{HOST}:{free_port()}/v1").ask([QUESTION])


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "API key"), (404, "served_model"), (400, "its log"), (302, "its log")]
)
def test_a_refusal_says_what_to_do(server: VlmServer, status: int, advice: str) -> None:
    server.first = [status]

    with pytest.raises(ConfigError, match=advice):
        _endpoint(server.url).ask([QUESTION])


def test_a_key_comes_from_a_file_or_the_environment(
    server: VlmServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.key = "s3cret"
    (tmp_path / "key").write_text("s3cret\n")

    by_file = _endpoint(server.url, api_key_file=tmp_path / "key").ask([QUESTION])
    monkeypatch.setenv(API_KEY, "s3cret")
    by_environment = _endpoint(server.url).ask([QUESTION])

    assert by_file == by_environment


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="api_key_file"):
        _endpoint("http://localhost/v1", api_key_file=tmp_path / "nothing")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"choices": []}', b"[" * 100_000, b'{"choices": [3]}'])
def test_what_is_no_chat_completion_is_tried_later(body: bytes) -> None:
    with http_peer() as peer:
        peer.body = body

        with pytest.raises(NoAnswer, match="a chat completion in JSON was expected"):
            _endpoint(peer.url).ask([QUESTION])


def test_an_answer_without_end_is_cut_off() -> None:
    with http_peer() as peer:
        peer.body, peer.repeats = b" " * (1 << 20), 64

        with pytest.raises(Later, match="more than 10 MB"):
            _endpoint(peer.url).ask([QUESTION])


def test_the_corner_test_is_made_once_and_names_the_format_that_fits(server: VlmServer) -> None:
    server.model = Sighted(form="yxyx_1000")
    settings = VlmSettings(url=server.url, served_model="sighted")

    with pytest.raises(ConfigError, match="set box_format = 'yxyx_1000'"):
        Localizer()._model(settings, "cpu")

    localizer = Localizer()
    fitting = settings.model_copy(update={"box_format": "yxyx_1000"})
    server.came.clear()
    assert localizer._model(fitting, "cpu") is localizer._model(fitting, "cpu")
    assert len(server.came) == len(CORNERS)


def test_a_model_that_fails_the_corner_test_runs_when_told_to(server: VlmServer) -> None:
    server.model = Sighted(blind=True)

    Localizer()._model(VlmSettings(url=server.url, served_model="sighted", self_test=False), "cpu")

    assert server.came == []


def test_pictures_for_a_model_that_counts_in_pixels_are_of_its_own_step(server: VlmServer) -> None:
    server.model = Sighted(form="xyxy_pixels")
    settings = VlmSettings(url=server.url, served_model="sighted", box_format="xyxy_pixels")

    model = Localizer()._model(settings, "cpu")

    assert model.step_px == 28
    assert FORMATS["xyxy_pixels"].is_pixels
    assert VirtualBiopsySettings(vlm=settings).vlm == settings
