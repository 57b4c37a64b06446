"""Nested stacks are expanded and updated as the root is.

The emulator applies the SAM transform to the template of a stack operation, but not to those of its nested
stacks, whose `AWS::Serverless::*` resources it then does not know. And an update of a nested stack forgets the
attributes of the resources that stay as they are, so that a GetAtt of one fails.
"""

from __future__ import annotations

from typing import Any

from ministack.services import cloudformation
from ministack.services.cloudformation import engine, provisioners

from lisa_local.emulator.bridges.seams import Bridge, Context, original, replace


def _expand() -> None:
    check = original(provisioners, "_check_nested_stack_capabilities")
    apply_transforms = original(engine, "_apply_transforms")
    transform_failed = original(engine, "_TransformFailed")

    def check_and_expand(parent_stack_name: str, template: dict[str, Any]) -> None:
        # Called between reading a nested template and using it; nothing else is.
        check(parent_stack_name, template)
        expanded = apply_transforms(template)
        if isinstance(expanded, transform_failed):
            raise ValueError(str(expanded.error))
        if expanded is not template:
            # The roles that SAM adds need the same acknowledgement as written ones.
            check(parent_stack_name, expanded)
            expanded = dict(expanded)
            template.clear()
            template.update(expanded)

    replace(provisioners, "_check_nested_stack_capabilities", check_and_expand)


def _keep_attributes() -> None:
    stacks = original(cloudformation, "_stacks")
    update = original(provisioners, "_update_resource")

    def update_with_attributes(
        resource_type: str,
        physical_id: str,
        old_properties: dict[str, Any],
        new_properties: dict[str, Any],
        stack_name: str,
        logical_id: str | None = None,
        old_attributes: dict[str, Any] | None = None,
    ) -> tuple[str, dict[str, Any]]:
        # An update of a root says what the attributes were; that of a nested stack leaves them out.
        if old_attributes is None:
            resources = (stacks.get(stack_name) or {}).get("_resources", {})
            old_attributes = resources.get(logical_id, {}).get("Attributes")
        found: tuple[str, dict[str, Any]] = update(
            resource_type, physical_id, old_properties, new_properties, stack_name, logical_id, old_attributes
        )
        return found

    replace(provisioners, "_update_resource", update_with_attributes)


def install(_: Context) -> None:
    _expand()
    _keep_attributes()


BRIDGE = Bridge("nested_stacks", "nested stacks are expanded and updated as the root is", install)
