"""`/v1/files` and `/v1/vector_stores`: what is written to S3 and read from it here, the rest by the functions."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from lisa.errors import LisaError, PayloadTooLarge
from lisa.identity import Principal
from lisa.rag.documents.naming import file_name
from lisa.rag.openai.ids import new_file_id
from lisa.rag.openai.placing import file_key

from lisa_gateway.answers import send_json
from lisa_gateway.audit import Audit
from lisa_gateway.http.exchange import Exchange, header_line
from lisa_gateway.http.incoming import Incoming
from lisa_gateway.retrieval.form import IncomingForm
from lisa_gateway.retrieval.functions import Functions
from lisa_gateway.retrieval.objects import Objects
from lisa_gateway.retrieval.searching import (
    MAX_QUERIES,
    Search,
    Searcher,
    count_of,
    filters_of,
    ranking,
    texts_of,
)
from lisa_gateway.validation import parse_object, refuse

PURPOSES = ("assistants", "user_data")
MAX_JSON_BYTES = 1024 * 1024
DEFAULT_RESULTS = 10  # OpenAI's

# Every route, without its prefix; the policy has the same (lisa.identity.policy).
PATHS = (
    "/files",
    "/files/{fileId}",
    "/files/{fileId}/content",
    "/vector_stores",
    "/vector_stores/{vectorStoreId}",
    "/vector_stores/{vectorStoreId}/search",
    "/vector_stores/{vectorStoreId}/files",
    "/vector_stores/{vectorStoreId}/files/{fileId}",
    "/vector_stores/{vectorStoreId}/files/{fileId}/content",
    "/vector_stores/{vectorStoreId}/file_batches",
    "/vector_stores/{vectorStoreId}/file_batches/{batchId}",
    "/vector_stores/{vectorStoreId}/file_batches/{batchId}/cancel",
    "/vector_stores/{vectorStoreId}/file_batches/{batchId}/files",
)
_SEARCH = ("POST", "/vector_stores/{vectorStoreId}/search")

Handler = Callable[[Exchange, Principal, str], Awaitable[str]]


class Retrieval:
    """Answers exchanges of these routes. `max_file_bytes` is the longest file that is taken."""

    def __init__(
        self, functions: Functions, objects: Objects, searcher: Searcher, audit: Audit, *, max_file_bytes: int
    ) -> None:
        self._functions = functions
        self._objects = objects
        self._searcher = searcher
        self._audit = audit
        self._max_file_bytes = max_file_bytes
        self._here: dict[tuple[str, str], Handler] = {
            ("POST", "/files"): self._upload,
            ("GET", "/files/{fileId}/content"): self._content,
            ("GET", "/vector_stores/{vectorStoreId}/files/{fileId}/content"): self._text,
            _SEARCH: self._search,
        }

    async def answer(self, exchange: Exchange, principal: Principal | None) -> None:
        assert principal is not None  # noqa: S101 - the policy lets nobody in without a token
        route = _route(exchange.endpoint)
        handler = self._here.get((exchange.method, route), self._pass_on)
        if exchange.method == "GET" or handler == self._search:
            await handler(exchange, principal, route)
            return
        # What changes something is told to the audit log, as it is at the management API.
        made = ""
        try:
            made = await handler(exchange, principal, route)
        except LisaError as error:
            self._audit.changed(exchange, principal, status=error.status, error=error.code)
            raise
        self._audit.changed(exchange, principal, status=exchange.status, made=made)

    async def _pass_on(self, exchange: Exchange, principal: Principal, route: str) -> str:
        """Answers with what the function does; the id of what was made, where something was."""
        body = _json(exchange) if exchange.method == "POST" else {}
        document = await self._functions.vector_stores(principal, _call(exchange, route, body))
        if document.get("status") == "in_progress":
            # OpenAI's clients ask again after so long.
            exchange.extra_headers += b"openai-poll-after-ms: 500\r\n"
        send_json(exchange, document)
        return str(document.get("id", "")) if exchange.method == "POST" else ""

    # Files

    async def _upload(self, exchange: Exchange, principal: Principal, route: str) -> str:
        form = IncomingForm(exchange.headers.get(b"content-type", b""), _incoming(exchange))
        file_id, name, size, purpose = new_file_id(), "", 0, ""
        key = ""
        try:
            while (part := await form.next()) is not None:
                if part.name == "file":
                    if key:
                        raise refuse("`file` was sent more than once.", "file", "invalid_value")
                    name = _name(part.filename)
                    key = file_key(principal.user, file_id, name)
                    size = await self._objects.store(key, form.read, limit=self._max_file_bytes)
                elif part.name == "purpose":
                    purpose = _purpose(await form.value())
                elif part.name.startswith("expires_after"):
                    raise refuse(
                        "`expires_after` is not supported: a file stays until it is deleted. Leave it out.",
                        "expires_after",
                        "unsupported_parameter",
                    )
            if not key:
                raise refuse("`file` is missing.", "file", "missing_required_parameter")
            if not purpose:
                raise refuse("`purpose` is missing.", "purpose", "missing_required_parameter")
            body = {"id": file_id, "filename": name, "bytes": size, "purpose": purpose}
            document = await self._functions.vector_stores(principal, _call(exchange, route, body))
        except BaseException:
            if key:
                self._objects.forget(key)
            raise
        send_json(exchange, document)
        return file_id

    async def _content(self, exchange: Exchange, principal: Principal, route: str) -> str:
        found = await self._functions.vector_stores(principal, _call(exchange, route, {}))
        # A user's file is never shown as a page of this address, whatever it says that it is.
        headers = b"content-type: application/octet-stream\r\nx-content-type-options: nosniff\r\n"
        name = quote(str(found["filename"]), safe="")
        headers += header_line("content-disposition", f"attachment; filename*=UTF-8''{name}")
        await self._objects.send(exchange, str(found["key"]), headers)
        return ""

    async def _text(self, exchange: Exchange, principal: Principal, route: str) -> str:
        call = _call(exchange, route, {})
        page = call["query"].get("page") or "-1"
        if not page.removeprefix("-").isdecimal() or len(page) > 9:
            raise refuse("`page` is not one that an answer gave.", "page", "invalid_value")
        place = await self._functions.vector_stores(principal, call)
        pieces, after = await self._searcher.text(principal, place, int(page))
        send_json(
            exchange,
            {
                "object": "vector_store.file_content.page",
                "data": [{"type": "text", "text": piece} for piece in pieces],
                "has_more": after is not None,
                "next_page": None if after is None else str(after),
            },
        )
        return ""

    # Search

    async def _search(self, exchange: Exchange, principal: Principal, route: str) -> str:
        body = _json(exchange)
        if body.get("query") is None:
            raise refuse("`query` is missing.", "query", "missing_required_parameter")
        threshold, rerank = ranking(body.get("ranking_options"), "ranking_options")
        search = Search(
            store_ids=(_parameters(exchange, route)["vectorStoreId"],),
            queries=texts_of(body["query"], "query", MAX_QUERIES),
            limit=count_of(body.get("max_num_results"), "max_num_results", DEFAULT_RESULTS),
            filters=filters_of(body.get("filters"), "filters"),
            threshold=threshold,
            rerank=rerank,
        )
        found = await self._searcher.search(principal, search)
        data = []
        for passage in found:
            result = passage.result()
            result["content"] = [{"type": "text", "text": result.pop("text")}]
            data.append(result)
        send_json(
            exchange,
            {
                "object": "vector_store.search_results.page",
                "search_query": list(search.queries),
                "data": data,
                "has_more": False,
                "next_page": None,
            },
        )
        return ""


def _route(rule_path: str) -> str:
    """A rule's path without its prefix."""
    at = rule_path.find("/files") if "/vector_stores" not in rule_path else rule_path.find("/vector_stores")
    return rule_path[at:]


def _parameters(exchange: Exchange, route: str) -> dict[str, str]:
    template = route.split("/")
    # From the right: what stands before the route may be a prefix and a base path.
    given = exchange.path.rstrip("/").split("/")[-len(template) :]
    found = zip(template, given, strict=False)
    return {part[1:-1]: unquote(value) for part, value in found if part.startswith("{")}


def _call(exchange: Exchange, route: str, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "requestId": exchange.request_id.decode(),
        "method": exchange.method,
        "route": route,
        "path": _parameters(exchange, route),
        "query": dict(parse_qsl(exchange.query, keep_blank_values=True)),
        "body": body,
    }


def _json(exchange: Exchange) -> dict[str, Any]:
    """The body's object; clients send none where nothing has to be said."""
    body = exchange.body
    if len(body) > MAX_JSON_BYTES:
        raise PayloadTooLarge(f"The body is over {MAX_JSON_BYTES} bytes.", code="request_too_large")
    if b"\\u0000" in body:
        raise refuse("The body holds a null character: leave it out.", None, "invalid_value")
    return parse_object(body) if body else {}


def _incoming(exchange: Exchange) -> Incoming:
    if exchange.incoming is not None:
        return exchange.incoming
    whole = Incoming(lambda: None, lambda: None)
    if exchange.body:
        whole.feed(exchange.body)
    whole.end()
    return whole


def _name(given: str | None) -> str:
    if given is None:
        raise refuse("`file` must be a file with a name.", "file", "invalid_value")
    try:
        # Some clients send the whole path.
        return file_name(given.replace("\\", "/").rsplit("/", 1)[-1])
    except LisaError as error:
        raise refuse(error.message, "file", "invalid_value") from None


def _purpose(value: str) -> str:
    if value not in PURPOSES:
        raise refuse(f"`purpose` must be one of {', '.join(PURPOSES)}.", "purpose", "invalid_value")
    return value
