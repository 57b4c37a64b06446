"""What a caller may send: fields of the right type, and none that steer the gateway itself."""

import re
from typing import Any

import orjson
from lisa.errors import LisaError

from lisa_gateway.endpoints import Endpoint

# Names that LiteLLM reads from a request as instructions to itself: addresses, credentials, other models,
# routing, logging, prices. One list for every route, so that no route is the weak one. The test beside this
# module holds it against the names that the pinned LiteLLM declares.
_NAMES = """
    api_base base_url api_key api_version api_type extra_headers extra_query extra_body headers
    default_headers organization project custom_llm_provider deployment_id model_list model_info
    model_alias_map model_config user_config fallbacks context_window_fallbacks content_policy_fallbacks
    context_window_fallback_dict router_settings_override max_fallbacks fallback_depth attempted_targets
    num_retries max_retries retry_policy retry_strategy routing_strategy cooldown_time
    allowed_model_region enable_tag_filtering fastest_response provider_affinity_header
    provider_specific_header search_tool_name configurable_clientside_auth_params allowed_openai_params
    drop_params additional_drop_params allow_client_keepalive_override keepalive_seconds client
    client_id client_secret tenant_id region_name client_side_timeout ssl_verify request_timeout
    force_timeout stream_timeout timeout timeout_by_service_tier stream_timeout_by_service_tier
    shared_session use_client use_ssl use_litellm_proxy use_in_pass_through use_chat_completions_api
    use_xai_oauth caching cache ttl caching_groups cache_key preset_cache_key enable_prompt_caching
    mock_response mock_timeout mock_tool_calls guardrails guardrail_config policies tags tag_regex
    logger_fn verbose no-log log_client_error_tracebacks turn_off_message_logging rust self id
    proxy_server_request secret_fields completion_call_id acompletion aembedding aimg_generation
    atext_completion text_completion allm_passthrough_route async_call complete_response stream_response
    stream_chunk_size roles bos_token eos_token hf_model_name final_prompt_value custom_prompt_dict
    base_model supports_system_message ensure_alternating_roles user_continue_message
    assistant_continue_message merge_reasoning_content_in_choices enable_json_schema_validation
    disable_add_transform_inline_image_block prompt_id prompt_variables prompt_version
    prompt_environment prompt_label rpm tpm itpm otpm order weight max_parallel_requests
    max_file_size_mb max_budget budget_duration max_agentic_loops silent_model data_residency
    model_file_id_mapping output_vector_size tiered_pricing slack_webhook_url deployment_url
    nvcf_function_id agentcore_runtime_session_id workspace_id anthropic-workspace-id sagemaker_base_url
    fireworks_forward_user_id user_api_key_dict
"""
_FORBIDDEN = frozenset(_NAMES.split())
_FORBIDDEN_PATTERN = re.compile(
    r"""_ | litellm[_-] | user_api_key | aws_ | azure | vertex_ | s3_ | gcs_ | bedrock_tags | default_api_key_
    | anthropic_ | openai_ | auto_router_ | adaptive_router_ | complexity_router_ | quality_router_
    | langfuse_ | langsmith_ | arize_ | braintrust_ | dd_ | humanloop_ | lunary_ | newrelic_ | posthog_
    | signoz_ | wandb_ | weave_ | phoenix_ | milvus_ | valkey_ | watsonx_ | cost_per_ | vector_store_id
    | bucket_name | regional_ | cache_creation_ | cache_read_
    | .*_cost_per_ | .*_uplift_""",
    re.VERBOSE,
)
# Objects that LiteLLM reads the same names from.
_NESTED = ("metadata",)
_MAX_NAME = 64


def forbidden(name: str) -> bool:
    """Whether a field of this name would steer the gateway rather than the model."""
    return name in _FORBIDDEN or _FORBIDDEN_PATTERN.match(name) is not None


def refuse(message: str, field: str | None, code: str) -> LisaError:
    return LisaError(message, code=code, status=400, field=field)


def not_allowed(name: str) -> LisaError:
    return refuse(
        f"`{name[:_MAX_NAME]}` cannot be set by a caller; leave it out.", name[:_MAX_NAME], "not_allowed"
    )


def parse_object(body: bytes) -> dict[str, Any]:
    """The request's JSON object; raises a 400. Of a name given twice the last one counts, and only that is
    sent on, so that an engine sees what was judged."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise refuse(f"The body is not valid JSON: {error}.", None, "invalid_json") from None
    if not isinstance(document, dict):
        raise refuse("The body must be a JSON object.", None, "invalid_json")
    return document


def check_fields(document: dict[str, Any], endpoint: Endpoint) -> None:
    """Raises a 400 that names the first field which is missing, of the wrong type, or not the caller's."""
    kinds = endpoint.fields
    for name, value in document.items():
        kind = kinds.get(name)
        if kind is None:
            if forbidden(name):
                raise not_allowed(name)
        elif value is not None and not kind.fits(value):
            raise refuse(f"`{name}` must be {kind.words}.", name, "invalid_type")
    for name in _NESTED:
        nested = document.get(name)
        if nested is not None:
            _check_nested(name, nested)
    for name in endpoint.required:
        if document.get(name) is None:
            raise refuse(f"`{name}` is missing.", name, "missing_required_parameter")
    messages = document.get("messages")
    if messages is not None and "messages" in kinds:
        _check_messages(messages)


def _check_nested(at: str, value: Any) -> None:
    if isinstance(value, dict):
        for name in value:
            if forbidden(name):
                raise not_allowed(f"{at}.{name}")


def _check_messages(messages: list[dict[str, Any]]) -> None:
    if not messages:
        raise refuse("`messages` must hold at least one message.", "messages", "invalid_value")
    for at, message in enumerate(messages):
        if not isinstance(message.get("role"), str):
            raise refuse(f"`messages[{at}].role` must be a string.", f"messages[{at}].role", "invalid_type")
        content = message.get("content")
        if content is None or isinstance(content, str):
            continue
        if not isinstance(content, list):
            where = f"messages[{at}].content"
            raise refuse(f"`{where}` must be a string or an array.", where, "invalid_type")


def model_of(document: dict[str, Any]) -> str:
    """The model that is asked for; raises the same 404 as for one that does not exist when there is none."""
    model = document.get("model")
    if model is not None and not isinstance(model, str):
        raise refuse("`model` must be a string.", "model", "invalid_type")
    if not model:
        raise LisaError(
            "You must say which `model` to use.", code="model_not_found", status=404, field="model"
        )
    return model
