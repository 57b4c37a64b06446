"""What the functions behind a workflow's states have in common."""

from collections.abc import Callable
from typing import Any

from lisa.models.workflow import Outcome, Wish
from lisa.observability import logger, traced

Handler = Callable[[dict[str, Any], Any], Outcome]


def step(work: Callable[[Wish, dict[str, Any]], Outcome]) -> Handler:
    """A Lambda handler that does one state's work and logs one line with its outcome."""

    @traced
    def handler(event: dict[str, Any], context: Any) -> Outcome:
        wish = Wish.of(event)
        outcome = work(wish, event)
        logger.info(
            "step",
            extra={
                "state": getattr(context, "function_name", None),
                "modelId": wish.model_id,
                "generation": wish.generation,
                "outcome": outcome["outcome"],
            },
        )
        return outcome

    return handler
