"""The two models are defined once; one that failed is made again; their weights are checked first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lisa_local.bringup import models
from lisa_local.cloud import Answer
from lisa_local.console import Problem


class Api:
    """The management API's answers, as far as the models' life goes."""

    def __init__(self, *statuses: str | None) -> None:
        self._statuses = list(statuses)
        self.created = 0
        self.deleted = 0
        self.answer = Answer(200, {})

    def get(self, model_id: str) -> dict[str, Any] | None:
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        return None if status is None else {"modelId": model_id, "status": status, "reason": "out of memory"}

    def create(self, definition: dict[str, Any]) -> bool:
        if self._statuses[0] is None:
            self.created += 1
            return True
        return False

    def delete(self, model_id: str) -> None:
        self.deleted += 1

    def answers(self, model: models.SeedModel) -> Answer:
        return self.answer


CHAT = models.MODELS[0]


def test_a_model_that_is_not_there_is_created() -> None:
    api = Api(None)
    assert models.define(api, CHAT)  # type: ignore[arg-type]
    assert api.created == 1


@pytest.mark.parametrize("status", ["InService", "Creating", "Stopped"])
def test_a_model_that_is_there_is_left_alone(status: str) -> None:
    api = Api(status)
    assert not models.define(api, CHAT)  # type: ignore[arg-type]
    assert (api.created, api.deleted) == (0, 0)


def test_a_model_that_failed_is_made_again() -> None:
    api = Api("Failed", "Deleting", None)
    assert models.define(api, CHAT)  # type: ignore[arg-type]
    assert (api.created, api.deleted) == (1, 1)


def test_waiting_ends_when_the_model_answers() -> None:
    models.wait_in_service(Api("Creating", "InService"), CHAT)  # type: ignore[arg-type]


def test_a_model_that_fails_while_waited_for_says_why() -> None:
    with pytest.raises(Problem, match="smollm2-135m failed: out of memory"):
        models.wait_in_service(Api("Creating", "Failed"), CHAT)  # type: ignore[arg-type]


def test_a_model_in_service_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "ANSWER_SECONDS", 0.0)
    api = Api("InService")
    api.answer = Answer(503, {"error": {"message": "starting"}})
    with pytest.raises(Problem, match="does not answer after 0 s: starting"):
        models.wait_in_service(api, CHAT)  # type: ignore[arg-type]


class _NoCloud:
    """Weights that are not what they should be never reach a cloud."""


def test_weights_with_another_checksum_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given
    monkeypatch.setattr(models, "_site_packages", lambda: tmp_path)
    name = next(iter(CHAT.files))
    (tmp_path / CHAT.wheel_folder).mkdir()
    (tmp_path / CHAT.wheel_folder / name).write_bytes(b"something else")

    # When
    with pytest.raises(Problem, match="is not the file that was checked"):
        models.push_weights(_NoCloud(), CHAT)  # type: ignore[arg-type]


def test_weights_that_are_missing_say_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "_site_packages", lambda: tmp_path)
    with pytest.raises(Problem, match="make setup"):
        models.push_weights(_NoCloud(), replace(CHAT, wheel_folder="none"))  # type: ignore[arg-type]
