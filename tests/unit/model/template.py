"""Resolves a CloudFormation template for given parameters: the intrinsic functions that model.yaml uses."""

import re
from typing import Any

from cfnlint.decode.cfn_yaml import load as load_yaml

_PSEUDO = {"AWS::Region": "us-east-1", "AWS::StackName": "stack", "AWS::Partition": "aws"}


class Template:
    """`resources` holds what would be created, with references to resources as `<Name>` or `<Name.Attribute>`."""

    def __init__(self, path: str, **parameters: str) -> None:
        source = load_yaml(path)
        self.declared: dict[str, Any] = source["Parameters"]
        unknown = set(parameters) - set(self.declared)
        assert not unknown, f"not parameters of the template: {unknown}"
        self.parameters = {name: self._value(name, parameters) for name in self.declared}
        self._conditions: dict[str, Any] = source["Conditions"]
        self.resources = {
            name: self._resolve(resource)
            for name, resource in source["Resources"].items()
            if "Condition" not in resource or self._holds(resource["Condition"])
        }
        self.outputs = {name: self._resolve(output["Value"]) for name, output in source["Outputs"].items()}

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [resource["Properties"] for resource in self.resources.values() if resource["Type"] == kind]

    def _value(self, name: str, given: dict[str, str]) -> Any:
        declared = self.declared[name]
        assert name in given or "Default" in declared, f"{name} has no value"
        value = str(given.get(name, declared.get("Default")))
        if "AllowedPattern" in declared and name in given:
            assert re.fullmatch(declared["AllowedPattern"], value), f"{name}: {value}"
        if "AllowedValues" in declared:
            assert value in [str(allowed) for allowed in declared["AllowedValues"]], f"{name}: {value}"
        if declared["Type"] == "Number":
            assert declared.get("MinValue", 0) <= int(value) <= declared.get("MaxValue", int(value)), (
                f"{name}: {value}"
            )
        return value.split(",") if declared["Type"] == "CommaDelimitedList" else value

    def _holds(self, name: str) -> bool:
        return bool(self._resolve(self._conditions[name]))

    def _resolve(self, node: Any) -> Any:
        if isinstance(node, list):
            resolved = [self._resolve(item) for item in node]
            return [item for item in resolved if item is not None]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            function, argument = next(iter(node.items()))
            handler = getattr(self, "_" + function.replace("Fn::", "").lower(), None)
            if handler and (function.startswith("Fn::") or function in ("Ref", "Condition")):
                return handler(argument)
        resolved = {str(key): self._resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not None}

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return None
        return self.parameters.get(name, _PSEUDO.get(name, f"<{name}>"))

    def _getatt(self, argument: Any) -> str:
        return "<" + (argument if isinstance(argument, str) else ".".join(argument)) + ">"

    def _if(self, argument: list[Any]) -> Any:
        return self._resolve(argument[1] if self._holds(argument[0]) else argument[2])

    def _equals(self, argument: list[Any]) -> bool:
        left, right = (str(self._resolve(item)) for item in argument)
        return left == right

    def _not(self, argument: list[Any]) -> bool:
        return not self._resolve(argument[0])

    def _and(self, argument: list[Any]) -> bool:
        return all(self._resolve(item) for item in argument)

    def _condition(self, name: str) -> bool:
        return self._holds(name)

    def _select(self, argument: list[Any]) -> Any:
        return self._resolve(argument[1])[int(argument[0])]

    def _split(self, argument: list[Any]) -> list[str]:
        return self._resolve(argument[1]).split(argument[0])

    def _base64(self, argument: Any) -> Any:
        return self._resolve(argument)

    def _sub(self, argument: Any) -> str:
        text, names = (argument, {}) if isinstance(argument, str) else argument
        values = {name: self._resolve(value) for name, value in names.items()}

        def replace(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            return str(values.get(name) or (self._getatt(name) if "." in name else self._ref(name)))

        return re.sub(r"\$\{([^}]+)\}", replace, text)
