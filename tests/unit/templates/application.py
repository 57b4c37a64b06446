"""Reads the application as CloudFormation does: the tree of templates, conditions and rules with their functions."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
APPLICATION = "AWS::Serverless::Application"
UNKNOWN = object()
"""A value that exists only once it is deployed."""


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


@functools.cache
def load(path: Path) -> dict[str, Any]:
    # Our own files, read by a safe loader
    template: dict[str, Any] = yaml.load(path.read_text(), _Loader)
    return template


def walk(node: Any) -> Iterator[Any]:
    """Every mapping and sequence in a template."""
    yield node
    if isinstance(node, Mapping):
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


@dataclass(frozen=True)
class Stack:
    path: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What it was given; UNKNOWN where that is known only at deployment."""

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def template(self) -> dict[str, Any]:
        return load(self.path)

    @property
    def resources(self) -> dict[str, Any]:
        resources: dict[str, Any] = self.template["Resources"]
        return resources

    def value(self, node: Any) -> Any:  # noqa: PLR0911 - one return a function
        """A template expression evaluated, as far as it is known before deployment."""
        if not isinstance(node, dict) or len(node) != 1:
            return [self.value(item) for item in node] if isinstance(node, list) else node
        ((function, argument),) = node.items()
        match function:
            case "Ref":
                return self._parameter(argument)
            case "Condition":
                return self.condition(argument)
            case "Fn::Equals":
                left, right = (self.value(item) for item in argument)
                return UNKNOWN if UNKNOWN in (left, right) else str(left) == str(right)
            case "Fn::Not":
                return self._not(self.value(argument[0]))
            case "Fn::And":
                return self._all([self.value(item) for item in argument])
            case "Fn::Or":
                return self._not(self._all([self._not(self.value(item)) for item in argument]))
            case "Fn::If":
                chosen = self.condition(argument[0])
                return UNKNOWN if chosen is UNKNOWN else self.value(argument[1 if chosen else 2])
            case "Fn::Select":
                chosen = self.value(argument[1])
                return chosen if chosen is UNKNOWN else chosen[int(argument[0])]
            case "Fn::Join":
                parts = self.value(argument[1])
                known = parts is not UNKNOWN and UNKNOWN not in parts
                return argument[0].join(parts) if known else UNKNOWN
            case _:
                return UNKNOWN if function.startswith("Fn::") else node

    @staticmethod
    def _not(value: Any) -> Any:
        return UNKNOWN if value is UNKNOWN else not value

    @staticmethod
    def _all(values: list[Any]) -> Any:
        if False in values:
            return False
        return UNKNOWN if UNKNOWN in values else True

    def _parameter(self, name: str) -> Any:
        declared = self.template.get("Parameters", {}).get(name)
        if declared is None:
            return UNKNOWN  # a resource or a pseudo parameter
        value = self.parameters.get(name, declared.get("Default", UNKNOWN))
        if value is not UNKNOWN and declared["Type"] == "CommaDelimitedList":
            return str(value).split(",")
        return value

    def condition(self, name: str) -> Any:
        return self.value(self.template["Conditions"][name])

    def created(self) -> dict[str, Any]:
        """The resources that are created, or may be."""
        return {
            logical_id: resource
            for logical_id, resource in self.resources.items()
            if "Condition" not in resource or self.condition(resource["Condition"]) is not False
        }

    def broken_rules(self) -> list[str]:
        return [
            assertion["AssertDescription"]
            for rule in self.template.get("Rules", {}).values()
            if "RuleCondition" not in rule or self.value(rule["RuleCondition"])
            for assertion in rule["Assertions"]
            if not self.value(assertion["Assert"])
        ]

    def child(self, resource: Mapping[str, Any]) -> Stack:
        given = resource["Properties"].get("Parameters", {})
        path = (self.path.parent / resource["Properties"]["Location"]).resolve()
        return Stack(path, {name: self.value(value) for name, value in given.items()})


def deployed(root: Stack) -> Iterator[Stack]:
    """The stacks that are created, or may be, from the root down."""
    yield root
    for resource in root.created().values():
        if resource["Type"] == APPLICATION:
            yield from deployed(root.child(resource))


def application(**parameters: str) -> Stack:
    return Stack(ROOT / "template.yaml", parameters)


TEMPLATES = sorted([ROOT / "template.yaml", *(ROOT / "stacks").rglob("*.yaml")])
"""What `sam deploy` uploads."""

ALL_TEMPLATES = [*TEMPLATES, ROOT / "containers" / "model" / "model.yaml"]
