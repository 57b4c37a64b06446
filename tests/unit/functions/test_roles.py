"""What the functions and the builders of model stacks may do. The emulator holds neither machines nor CloudFormation
to their roles, and lets every role be passed, so it is read from the templates."""

import json
import re
from typing import Any

import pytest

from tests.unit.functions.samples import FUNCTIONS, ROOT
from tests.unit.templates.application import load, walk

STACKS = {path.stem: load(path) for path in sorted((ROOT / "stacks").glob("*.yaml"))}
WITH_FUNCTIONS = [
    name
    for name, template in STACKS.items()
    if any(each["Type"] == "AWS::Serverless::Function" for each in template["Resources"].values())
]
TEMPLATES = {name: STACKS[name] for name in ("data", *WITH_FUNCTIONS)}
MODELS = TEMPLATES["models"]["Resources"]


def statements(resource: dict[str, Any]) -> list[dict[str, Any]]:
    """Every statement of a role or a function, whatever the condition it stands under."""
    return [
        node
        for node in walk(resource["Properties"].get("Policies", []))
        if isinstance(node, dict) and "Action" in node
    ]


def actions(statement: dict[str, Any]) -> list[str]:
    found = statement["Action"]
    return [found] if isinstance(found, str) else found


def functions() -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, resource)
        for template in WITH_FUNCTIONS
        for name, resource in TEMPLATES[template]["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    ]


def passed(resource: dict[str, Any]) -> list[tuple[Any, Any]]:
    return [
        (statement["Resource"], statement["Condition"])
        for statement in statements(resource)
        if "iam:PassRole" in actions(statement)
    ]


@pytest.mark.parametrize("name", ["ModelCreateStack", "ModelDeleteStack", "ModelReconcile"])
def test_a_function_passes_only_the_stack_role_and_only_to_cloudformation(name):
    assert passed(MODELS[name]) == [
        (
            {"Fn::GetAtt": ["StackRole", "Arn"]},
            {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}},
        )
    ]


def test_no_other_function_passes_a_role():
    passing = {name for name, resource in functions() if passed(resource)}
    assert passing == {"ModelCreateStack", "ModelDeleteStack", "ModelReconcile"}


def test_the_stack_role_passes_the_four_roles_of_models_each_to_its_service():
    found = {}
    for resources, condition in passed(MODELS["StackRole"]):
        for resource in resources if isinstance(resources, list) else [resources]:
            found[resource["Fn::GetAtt"][0]] = condition["StringEquals"]["iam:PassedToService"]
    assert found == {
        "TaskRole": "ecs-tasks.amazonaws.com",
        "ExecutionRole": "ecs-tasks.amazonaws.com",
        "InfrastructureRole": "ecs.amazonaws.com",
        "InstanceRole": "ec2.amazonaws.com",
    }


def test_a_model_stack_makes_no_role_and_the_stack_role_could_not():
    template = load(ROOT / "containers" / "model" / "model.yaml")
    assert not [r for r in template["Resources"].values() if r["Type"].startswith("AWS::IAM::")]
    iam = {a for s in statements(MODELS["StackRole"]) for a in actions(s) if a.startswith("iam:")}
    assert iam == {"iam:PassRole", "iam:CreateServiceLinkedRole"}


def test_the_stack_role_touches_no_target_group_but_a_models_and_no_rule_but_the_models_listeners():
    for statement in statements(MODELS["StackRole"]):
        changes = [
            action
            for action in actions(statement)
            if action.startswith("elasticloadbalancing:") and ":Describe" not in action
        ]
        if any("TargetGroup" in action for action in changes):
            (tag,) = [key for key in statement["Condition"]["Null"] if key.endswith("Tag/lisa:model")]
            assert statement["Condition"]["Null"][tag] == "false"
        if any("Rule" in action for action in changes):
            listener, rules = statement["Resource"]
            assert listener == {"Ref": "ModelsListenerArn"}
            assert rules["Fn::Sub"][0].endswith(":listener-rule/app/${Listener}/*")


def test_a_model_server_reads_weights_and_nothing_else():
    assert {a for s in statements(MODELS["TaskRole"]) for a in actions(s)} == {
        "s3:ListBucket",
        "s3:GetObject",
    }


def test_every_access_to_a_table_names_the_kinds_of_rows():
    for name, resource in functions():
        for statement in statements(resource):
            if "AuditTable" in json.dumps(statement["Resource"]):
                continue  # its keys are ids; who may do what with it is said below
            if any(action.startswith("dynamodb:") for action in actions(statement)):
                # Where a kind is the beginning of a key, it ends before what tells rows apart.
                (condition,) = statement["Condition"].values()
                assert set(statement["Condition"]) <= {"ForAllValues:StringLike", "ForAllValues:StringEquals"}
                keys = condition["dynamodb:LeadingKeys"]
                assert all("*" not in key or re.fullmatch(r"[A-Z]+#\*", key) for key in keys), name
                assert keys, name
                assert "Scan" not in json.dumps(actions(statement)), name


def test_the_api_touches_rows_of_models_only_and_reads_no_key():
    granted = {a for s in statements(TEMPLATES["api"]["Resources"]["ModelsApi"]) for a in actions(s)}
    assert "secretsmanager:GetSecretValue" not in granted
    assert "states:StartExecution" not in granted
    assert not [action for action in granted if action.startswith("cloudformation:")]


def test_who_checks_api_tokens_reads_them_by_their_hash_alone_and_writes_only_that_they_were_used():
    roles = [
        TEMPLATES["api"]["Resources"]["ApiAuthorizer"],
        load(ROOT / "stacks" / "serve.yaml")["Resources"]["GatewayTaskRole"],
    ]
    for role in roles:
        granted = {
            (action, key)
            for statement in statements(role)
            if statement["Resource"] == {"Ref": "TokensTableArn"}
            for action in actions(statement)
            for condition in statement["Condition"].values()
            for key in condition["dynamodb:LeadingKeys"]
        }
        assert granted == {("dynamodb:GetItem", "HASH#*"), ("dynamodb:UpdateItem", "USED")}


def test_nobody_but_the_gateway_reads_providers_keys():
    for name, resource in functions():
        for statement in statements(resource):
            if "secretsmanager:GetSecretValue" in actions(statement):
                # Retrieval's own key, by which it has texts embedded.
                assert statement["Resource"] == {"Ref": "ServiceKeySecretArn"}, name


def test_the_probe_is_in_the_network_on_aws_and_may_do_nothing_else():
    probe = MODELS["ModelProbe"]["Properties"]
    assert "Policies" not in probe
    condition, vpc, otherwise = probe["VpcConfig"]["Fn::If"]
    assert condition == "OnAws"
    assert vpc["SecurityGroupIds"] == [{"Ref": "FunctionSecurityGroup"}]
    assert otherwise == {"Ref": "AWS::NoValue"}
    others = [name for name, resource in functions() if "VpcConfig" in resource["Properties"]]
    # Beside it those that speak to the gateway or to a store of chunks.
    assert others == [
        "ModelProbe", "DocumentEmbed", "DocumentStore", "CollectionGeneration", "RepositoryConnect", "CollectionIndex",
        "RepositoriesApi", "CollectionsApi", "RagSearch", "VectorStoresApi",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "resource"), functions(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_functions_folder_has_its_name(name, resource):
    folder = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).strip("_")
    assert resource["Properties"]["CodeUri"] == f"../functions/{folder}"
    assert (FUNCTIONS / folder / "app.py").exists()


def test_the_environment_of_a_function_is_what_it_reads():
    from lisa.settings import Settings

    known = {f"LISA_{name.upper()}" for name in Settings.model_fields}
    identity = {
        "LISA_ISSUER", "LISA_JWKS_URL", "LISA_CLIENT_ID_PARAMETER", "LISA_GROUPS_CLAIM", "LISA_ADMIN_GROUP",
        "LISA_USER_GROUP", "LISA_RAG_ADMIN_GROUP",
    }  # fmt: skip
    for template in WITH_FUNCTIONS:
        globals_ = TEMPLATES[template].get("Globals", {"Function": {"Environment": {"Variables": {}}}})
        shared = globals_["Function"]["Environment"]["Variables"]
        for resource in TEMPLATES[template]["Resources"].values():
            if resource["Type"] == "AWS::Serverless::Function":
                own = resource["Properties"].get("Environment", {}).get("Variables", {})
                names = {name for name in {**shared, **own} if name.startswith("LISA_")}
                assert names <= known | identity


def test_what_is_kept_survives_the_stack():
    data = TEMPLATES["data"]["Resources"]
    for name in ("ModelsTable", "UsageTable", "TokensTable", "AuditTable", "WeightsBucket"):
        assert data[name]["DeletionPolicy"] == data[name]["UpdateReplacePolicy"] == "Retain"
    for name in ("ModelsTable", "UsageTable", "TokensTable", "AuditTable"):
        table = data[name]["Properties"]
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert table["SSESpecification"] == {"SSEEnabled": True}
    table = data["ModelsTable"]["Properties"]
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    bucket = data["WeightsBucket"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    (refusal,) = [
        s
        for s in walk(data["WeightsBucketPolicy"])
        if isinstance(s, dict) and s.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
    ]
    assert refusal["Effect"] == "Deny"


def test_a_poisoned_record_ends_in_a_queue_after_finite_tries():
    stream = MODELS["ModelDispatch"]["Properties"]["Events"]["ModelsTable"]["Properties"]
    assert 0 < stream["MaximumRetryAttempts"] <= 100
    assert stream["MaximumRecordAgeInSeconds"] <= 86_400
    assert stream["BisectBatchOnFunctionError"] is True
    assert stream["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert stream["DestinationConfig"]["OnFailure"]["Type"] == "SQS"


def test_one_function_adds_to_the_audit_log_one_reads_it_and_none_changes_it():
    found = {
        name: actions(statement)
        for name, resource in functions()
        for statement in statements(resource)
        if "AuditTable" in json.dumps(statement["Resource"])
    }
    assert found == {"AuditRecord": ["dynamodb:PutItem"], "AuditApi": ["dynamodb:Query"]}


def test_whoever_serves_writes_or_checks_tokens_may_tell_the_audit_log_and_say_nothing_else_there():
    api = TEMPLATES["api"]["Resources"]
    paths = api["Api"]["Properties"]["DefinitionBody"]["paths"]
    writing = {
        re.search(r"\$\{(\w+?)\.?Arn\}/invocations", json.dumps(operation))[1]
        for methods in paths.values()
        for method, operation in methods.items()
        if method in ("post", "put", "patch", "delete")
    }
    known = dict(functions())
    for name in {*writing, "ApiAuthorizer"}:
        (told,) = [s for s in statements(known[name]) if "events:PutEvents" in actions(s)]
        assert told["Resource"] == {"Ref": "EventBusArn"}, name
        assert told["Condition"] == {"StringEqualsIfExists": {"events:source": "lisa.audit"}}, name
    assert api_bus() == {"Ref": "EventBus"}


def api_bus():
    return TEMPLATES["api"]["Globals"]["Function"]["Environment"]["Variables"]["LISA_EVENT_BUS"]
