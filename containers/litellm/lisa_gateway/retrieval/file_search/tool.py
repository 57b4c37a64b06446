"""What a request with `file_search` asks for, and what becomes of it before the model sees it."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lisa.identity import Principal

from lisa_gateway import estimates
from lisa_gateway.endpoints import Endpoint
from lisa_gateway.repairs import Repair
from lisa_gateway.retrieval.file_search.chat import ChatCiting
from lisa_gateway.retrieval.file_search.passages import Passages
from lisa_gateway.retrieval.file_search.responses import ResponsesCiting
from lisa_gateway.retrieval.searching import (
    MAX_QUERY_CHARACTERS,
    MAX_STORES,
    Found,
    Search,
    Searcher,
    count_of,
    filters_of,
    ranking,
    texts_of,
)
from lisa_gateway.upstream_errors import overflow
from lisa_gateway.validation import refuse

KIND = "file_search"
ENDPOINTS = frozenset({"chat/completions", "responses"})
RESULTS = "file_search_call.results"
DEFAULT_RESULTS = 20  # OpenAI's
# Passages take no more than these, whatever would fit: each token is paid for and waited for.
MAX_TOKENS = 4000
SHARE_OF_WINDOW = 3
MIN_TOKENS = 128
# Where nothing is said of them: the window, and the share of it that is left to the answer.
UNKNOWN_WINDOW = 8192
SHARE_OF_ANSWER = 4
RULES_TOKENS = 150


def wants_search(document: dict[str, Any], endpoint: Endpoint) -> bool:
    return endpoint.name in ENDPOINTS and any(tool.get("type") == KIND for tool in document["tools"] or ())


@dataclass(frozen=True, slots=True)
class Searched:
    """What was found for a request, and what its answer has to repeat of it."""

    endpoint: Endpoint
    query: str
    found: list[Found]
    shown: list[Found]
    with_results: bool
    tools: list[dict[str, Any]]
    tool_choice: Any

    def citing(self, inner: Repair | None) -> Repair:
        """What puts the citations into the answer."""
        results = [passage.result() for passage in self.found]
        call = {
            "id": f"fs_{secrets.token_hex(16)}",
            "type": "file_search_call",
            "status": "completed",
            "queries": [self.query],
            "results": results if self.with_results else None,
        }
        if self.endpoint.name == "chat/completions":
            return ChatCiting(inner, call, self.shown)
        echoed = {"tools": self.tools, "tool_choice": self.tool_choice}
        return ResponsesCiting(inner, call, self.shown, echoed)


class FileSearch:
    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher

    async def apply(
        self, document: dict[str, Any], endpoint: Endpoint, principal: Principal, context_window: int | None
    ) -> Searched | None:
        """Takes the tool out of a request, searches and puts what was found in; None when the caller wants no tools.

        Raises NotFound for a store that is not there for the caller, a 400 for what is wrong.
        """
        tools, choice = document["tools"], document.get("tool_choice")
        searches = [
            _search(tool, f"tools[{at}]") for at, tool in enumerate(tools) if tool.get("type") == KIND
        ]
        with_results = _take_include(document) or endpoint.name == "chat/completions"
        _take_tools(document, len(searches))
        if choice == "none":
            return None
        query = _question(document, endpoint)
        found: list[Found] = []
        for search in searches:
            found += await self._searcher.search(principal, replace(search, queries=(query,)))
        passages = Passages(found, _budget(document, endpoint, context_window))
        _instruct(document, endpoint, passages)
        return Searched(endpoint, query, found, passages.shown, with_results, tools, choice or "auto")


def _search(tool: dict[str, Any], at: str) -> Search:
    threshold, rerank = ranking(tool.get("ranking_options"), f"{at}.ranking_options")
    ids = tool.get("vector_store_ids")
    if not isinstance(ids, list):
        raise refuse(
            f"`{at}.vector_store_ids` must be an array of vector stores' ids.",
            f"{at}.vector_store_ids",
            "invalid_type",
        )
    return Search(
        store_ids=tuple(dict.fromkeys(texts_of(ids, f"{at}.vector_store_ids", MAX_STORES))),
        queries=(),
        limit=count_of(tool.get("max_num_results"), f"{at}.max_num_results", DEFAULT_RESULTS),
        filters=filters_of(tool.get("filters"), f"{at}.filters"),
        threshold=threshold,
        rerank=rerank,
    )


def _take_include(document: dict[str, Any]) -> bool:
    """Whether the results were asked for; engines do not know the word."""
    include = document.get("include")
    if not isinstance(include, list) or RESULTS not in include:
        return False
    document["include"] = [word for word in include if word != RESULTS]
    if not document["include"]:
        del document["include"]
    return True


def _take_tools(document: dict[str, Any], searches: int) -> None:
    left = [tool for tool in document["tools"] if tool.get("type") != KIND]
    choice = document.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == KIND:
        del document["tool_choice"]  # it has been made
    if left:
        document["tools"] = left
        return
    for name in ("tools", "tool_choice", "parallel_tool_calls"):
        document.pop(name, None)


# --- The request's texts


def _question(document: dict[str, Any], endpoint: Endpoint) -> str:
    """The last thing that the user has said."""
    text = _text(_last_user(document, endpoint))
    if not text:
        field = "messages" if endpoint.name == "chat/completions" else "input"
        raise refuse("`file_search` needs a text of the user to search for.", field, "invalid_value")
    return text[:MAX_QUERY_CHARACTERS]


def _last_user(document: dict[str, Any], endpoint: Endpoint) -> Any:
    """The content of the last message of the user: a string, or parts."""
    if endpoint.name == "responses" and isinstance(document["input"], str):
        return document["input"]
    item = _last_user_item(document, endpoint)
    return item.get("content") if item is not None else None


def _last_user_item(document: dict[str, Any], endpoint: Endpoint) -> dict[str, Any] | None:
    items: Sequence[Any] = document["messages" if endpoint.name == "chat/completions" else "input"]
    for item in reversed(items):
        if isinstance(item, dict) and item.get("role") == "user":
            return item
    return None


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content.strip()
    if not isinstance(content, list):
        return ""
    parts = [part.get("text") for part in content if isinstance(part, dict)]
    return "\n".join(text for text in parts if isinstance(text, str)).strip()


def _instruct(document: dict[str, Any], endpoint: Endpoint, passages: Passages) -> None:
    """Puts the passages before the user's question, and the rules about them into the instructions."""
    chat = endpoint.name == "chat/completions"
    if not chat and isinstance(document["input"], str):
        document["input"] = passages.block + document["input"]
    else:
        item = _last_user_item(document, endpoint)
        if item is not None and passages.block:
            content = item["content"]
            item["content"] = (
                passages.block + content
                if isinstance(content, str)
                else [{"type": "text" if chat else "input_text", "text": passages.block}, *content]
            )
    if not chat:
        own = document.get("instructions")
        if isinstance(own, list):
            document["instructions"] = [*own, {"role": "system", "content": passages.rules}]
        else:
            document["instructions"] = f"{own}\n\n{passages.rules}" if own else passages.rules
        return
    first = document["messages"][0]
    if first.get("role") in ("system", "developer") and isinstance(first.get("content"), str):
        first["content"] = f"{first['content']}\n\n{passages.rules}"
    else:
        document["messages"].insert(0, {"role": "system", "content": passages.rules})


def _budget(document: dict[str, Any], endpoint: Endpoint, context_window: int | None) -> int:
    """How many tokens passages may take beside the request and its answer. Raises a 400 when that is too few."""
    window = context_window or UNKNOWN_WINDOW
    asked = next(
        (
            value
            for name in ("max_completion_tokens", "max_output_tokens", "max_tokens")
            if isinstance(value := document.get(name), int) and value > 0
        ),
        window // SHARE_OF_ANSWER,
    )
    left = window - estimates.document_tokens(document, endpoint) - min(asked, window // 2) - RULES_TOKENS
    budget = min(MAX_TOKENS, window // SHARE_OF_WINDOW, left)
    if budget < MIN_TOKENS:
        raise overflow(context_window, "nothing is left for passages of the user's files")
    return budget
