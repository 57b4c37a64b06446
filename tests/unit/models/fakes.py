"""Stand-ins for what a workflow's steps look at, each with the smallest behaviour that a test needs."""

from dataclasses import dataclass, field
from typing import Any

from lisa.models.schema import ModelDefinition
from lisa.models.stacks import StackView


@dataclass
class FakeStacks:
    """Stacks by model id; `on_create` runs when one is asked for, as another workflow would."""

    views: dict[str, StackView] = field(default_factory=dict)
    created: list[tuple[str, str, int]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    on_create: Any = None

    def create(self, definition: ModelDefinition, weights_uri: str, priority: int) -> None:
        self.created.append((definition.model_id, weights_uri, priority))
        self.views[definition.model_id] = StackView("working")
        if self.on_create is not None:
            self.on_create()

    def view(self, model_id: str) -> StackView:
        return self.views.get(model_id, StackView("absent"))

    def delete(self, model_id: str) -> None:
        self.deleted.append(model_id)

    def models_with_stack(self) -> list[str]:
        return sorted(self.views)


@dataclass
class FakeTasks:
    reason: str | None = None

    def failure(self, cluster: str, service: str, log_group: str) -> str | None:
        return self.reason

    def last_words(self, log_group: str) -> str:
        return ". The last lines of its log:\nloading"


@dataclass
class FakeWeights:
    reason: str | None = None

    def missing(self, model_name: str) -> str | None:
        return self.reason

    def uri(self, model_name: str) -> str:
        return f"s3://weights/{model_name}/"


@dataclass
class FakeEvents:
    said: list[dict[str, Any]] = field(default_factory=list)

    def model_status_changed(self, detail: dict[str, Any]) -> None:
        self.said.append(detail)


@dataclass
class FakeExecutions:
    """Answers `state` for every row; remembers what was started and stopped."""

    answer: tuple[str, str | None] = ("running", None)
    started: list[tuple[str, int, int]] = field(default_factory=list)

    def start(self, record: Any) -> None:
        self.started.append((record.model_id, record.generation, record.attempt))

    def state(self, record: Any) -> tuple[str, str | None]:
        return self.answer


@dataclass
class FakeKeys:
    forgotten: list[str] = field(default_factory=list)

    def forget(self, arn: str) -> None:
        self.forgotten.append(arn)
