"""State machines written in YAML: CloudFormation reads them from S3 as they are, the emulator wants JSON."""

from __future__ import annotations

import json
from typing import Any

import yaml
from ministack.services.cloudformation import provisioners

from lisa_local.emulator.bridges.seams import Bridge, Context, original, replace


def install(_: Context) -> None:
    resolve = original(provisioners, "_sfn_definition")

    def as_json(properties: dict[str, Any]) -> str:
        definition: str = resolve(properties)
        if definition.lstrip().startswith("{"):
            return definition
        return json.dumps(yaml.safe_load(definition))

    replace(provisioners, "_sfn_definition", as_json)


BRIDGE = Bridge("definitions", "state machines may be written in YAML", install)
