"""A load balancer's DNS name is a loopback address, where our balancer listens.

The names that the emulator makes up resolve nowhere. The address follows from the load balancer's name, so it
stays the same when a stack is made again.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ministack.services import alb
from ministack.services.cloudformation import provisioners

from lisa_local.emulator.bridges.seams import Bridge, Context, original, replace

_TYPE = "AWS::ElasticLoadBalancingV2::LoadBalancer"


def address_of(name: str, block: int, taken: frozenset[str] = frozenset()) -> str:
    """An address in 127.<block>/16 for a load balancer's name: the same each time unless it is taken."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    while True:
        # Neither the network's first and last addresses nor .0 and .255 of any part.
        address = f"127.{block}.{number // 254 % 254 + 1}.{number % 254 + 1}"
        if address not in taken:
            return address
        number += 1


def install(context: Context) -> None:
    block = context.settings.loopback_block + 1
    load_balancers = original(alb, "_lbs")

    def rename(arn: str) -> str:
        record = load_balancers[arn]
        others = frozenset(lb["DNSName"] for key, lb in load_balancers.items() if key != arn)
        record["DNSName"] = address_of(record["LoadBalancerName"], block, others)
        return str(record["DNSName"])

    handlers = original(original(provisioners, "_RESOURCE_HANDLERS"), _TYPE)
    create = original(handlers, "create")

    def create_in_template(
        logical_id: str, props: dict[str, Any], stack_name: str
    ) -> tuple[str, dict[str, Any]]:
        arn, attributes = create(logical_id, props, stack_name)
        return arn, attributes | {"DNSName": rename(arn)}

    replace(handlers, "create", create_in_template)
    # A renamed load balancer is replaced by calling the function itself.
    replace(provisioners, "_elbv2_load_balancer_create", create_in_template)


BRIDGE = Bridge("addresses", "load balancers have loopback addresses", install)
