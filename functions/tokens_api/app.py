"""`/api/api-tokens`: people make, list and revoke keys for their programs."""

from http import HTTPStatus
from typing import Annotated
from urllib.parse import unquote

from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from lisa import aws
from lisa.api.resolver import api_handler, api_resolver, caller, created
from lisa.settings import Settings
from lisa.tokens.schema import CreatedToken, CreateToken, RevokedToken, TokenInfo, TokensAnswer
from lisa.tokens.service import TokenRules, TokenService
from lisa.tokens.store import TokenStore

settings = Settings.from_environment()
tokens = TokenService(
    TokenRules(
        max_days=settings.api_token_max_days,
        creator_group=settings.api_token_group,
        admin_group=settings.admin_group,
        user_group=settings.user_group,
    ),
    TokenStore(settings.tokens_table, aws.dynamodb()),
)
app = api_resolver()


@app.get("/api/api-tokens", summary="Your tokens; everybody's for administrators", tags=["API tokens"])
def list_tokens(
    page_size: Annotated[int | None, Query(alias="pageSize", description="1-100; without it, all")] = None,
    next_token: Annotated[str | None, Query(alias="nextToken", description="From the page before")] = None,
) -> TokensAnswer:
    found, token = tokens.visible(caller(app), page_size=page_size, token=next_token)
    return TokensAnswer(tokens=found, next_token=token)


@app.post(
    "/api/api-tokens", summary="Create a token for yourself; its secret is shown once", tags=["API tokens"]
)
def create_own_token(body: Annotated[CreateToken, Body()]) -> Response[CreatedToken]:
    return _created(tokens.create_own(caller(app), body))


# One name for the last part of the path, as the API has one resource for it: a UUID, or for POST a user's name.
@app.post(
    "/api/api-tokens/<id>",
    summary="Create a token for the user or program of this name, with the groups that you give it",
    tags=["API tokens"],
)
def create_token_for(id: str, body: Annotated[CreateToken, Body()]) -> Response[CreatedToken]:
    return _created(tokens.create_for(caller(app), unquote(id), body))


@app.get("/api/api-tokens/<id>", summary="A token by its UUID, without its secret", tags=["API tokens"])
def get_token(id: str) -> TokenInfo:
    return tokens.get(caller(app), id)


@app.delete("/api/api-tokens/<id>", summary="Revoke the token of this UUID", tags=["API tokens"])
def revoke_token(id: str) -> RevokedToken:
    return tokens.revoke(caller(app), id)


def _created(token: CreatedToken) -> Response[CreatedToken]:
    created(app, token.token_uuid)
    return Response(HTTPStatus.CREATED, content_types.APPLICATION_JSON, token)


handler = api_handler(app)
