"""Nested stacks are expanded as the root is.

The emulator applies the SAM transform to the template of a stack operation, but not to those of its nested
stacks, whose `AWS::Serverless::*` resources it then does not know. AWS expands each.
"""

from __future__ import annotations

from typing import Any

from ministack.services.cloudformation import engine, provisioners

from lisa_local.emulator.bridges.seams import Bridge, Context, original, replace


def install(_: Context) -> None:
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


BRIDGE = Bridge("nested_stacks", "nested stacks are expanded by the SAM transform", install)
