from collections.abc import Iterator

import pytest

from tests.unit.gateway.harness import Running, chat_answer, document, route, running


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    """One gateway for a module's tests; each gets it as if new."""

    def routes(port: int) -> list:
        return [
            route("m", port=port),
            route("e", mode="embedding", engine="onnx", port=port),
            route("secret", groups=("team-b",), port=port),
            route("soon", state="starting", port=port),
            route("gone", port=1),
            route("tei", mode="rerank", engine="tei", port=port),
        ]

    with running(routes=routes) as value:
        yield value


@pytest.fixture
def gateway(shared: Running) -> Running:
    shared.upstream.reply = document(chat_answer())
    shared.upstream.replies.clear()
    shared.upstream.asked.clear()
    shared.upstream.left.clear()
    return shared
