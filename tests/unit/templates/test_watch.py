"""What stands at the edge and what watches, on AWS: the firewall, the dashboard, the alarms."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.unit.templates.application import ROOT, TEMPLATES, Stack, application, deployed, walk

WATCH = Stack(ROOT / "stacks/aws/observability.yaml")
ALARMS = {n: r["Properties"] for n, r in WATCH.resources.items() if r["Type"] == "AWS::CloudWatch::Alarm"}
FILTERS = {n: r["Properties"] for n, r in WATCH.resources.items() if r["Type"] == "AWS::Logs::MetricFilter"}
OWN = {"Fn::Sub": "LISA/${DeploymentName}"}
FIREWALL = Stack(ROOT / "stacks/aws/web_acl.yaml").resources["WebAcl"]["Properties"]


# --- The firewall

# Of AWS's managed groups, the rules that look at bodies
# (https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html).
BODY_RULES = {
    "AWSManagedRulesCommonRuleSet": {
        "SizeRestrictions_BODY",
        "CrossSiteScripting_BODY",
        "GenericLFI_BODY",
        "GenericRFI_BODY",
        "EC2MetaDataSSRF_BODY",
    },
    "AWSManagedRulesKnownBadInputsRuleSet": {
        "JavaDeserializationRCE_BODY",
        "Log4JRCE_BODY",
        "ReactJSRCE_BODY",
    },
}


def groups() -> dict[str, dict[str, Any]]:
    managed = [rule["Statement"].get("ManagedRuleGroupStatement") for rule in FIREWALL["Rules"]]
    return {group["Name"]: group for group in managed if group}


def test_the_firewall_has_the_common_rules_and_known_bad_inputs_and_no_group_whose_bodies_nobody_thought_of() -> (
    None
):
    assert set(groups()) == set(BODY_RULES)
    for rule in FIREWALL["Rules"]:
        if "ManagedRuleGroupStatement" in rule["Statement"]:
            assert rule["OverrideAction"] == {"None": {}}, "a whole group that only counts stops nothing"


@pytest.mark.parametrize("name", BODY_RULES)
def test_no_body_is_blocked_for_what_it_says_or_for_its_size(name: str) -> None:
    counted = {
        override["Name"]
        for override in groups()[name]["RuleActionOverrides"]
        if override["ActionToUse"] == {"Count": {}}
    }
    assert {rule for rule in counted if rule.endswith("_BODY")} == BODY_RULES[name]


def test_an_address_that_asks_too_often_is_told_so() -> None:
    (rule,) = [rule for rule in FIREWALL["Rules"] if "RateBasedStatement" in rule["Statement"]]
    assert rule["Action"] == {"Block": {"CustomResponse": {"ResponseCode": 429}}}
    assert rule["Statement"]["RateBasedStatement"]["AggregateKeyType"] == "IP"
    assert rule["Priority"] == min(each["Priority"] for each in FIREWALL["Rules"])


def test_the_firewall_stands_before_the_api_and_the_public_load_balancer() -> None:
    stack = Stack(ROOT / "stacks/aws/web_acl.yaml")
    before = {
        name for name, each in stack.resources.items() if each["Type"] == "AWS::WAFv2::WebACLAssociation"
    }
    assert before == {"BeforeApi", "BeforePublicAlb"}
    assert stack.resources["BeforePublicAlb"]["Condition"] == "IsPublic"


@pytest.mark.parametrize(("stage", "there"), [("local", False), ("dev", True), ("prod", True)])
def test_firewall_and_watch_are_on_aws_alone(stage: str, there: bool) -> None:
    found = {stack.path.name for stack in deployed(application(Stage=stage))}
    assert ("observability.yaml" in found, "web_acl.yaml" in found) == (there, there)


# --- Alarms


def dimensions(alarm: dict[str, Any]) -> dict[str, str]:
    return {
        each["Name"]: re.sub(r".*Ref': '(\w+)'.*", r"\1", str(each["Value"]))
        for each in alarm.get("Dimensions", [])
    }


API = {"ApiName": "DeploymentName", "Stage": "ApiStage"}
ALB = {"LoadBalancer": "AlbFullName"}
TARGET = {**ALB, "TargetGroup": "GatewayTargetGroupFullName"}

EXPECTED: dict[str, tuple[Any, str, dict[str, str]]] = {
    "Api5xx": ("AWS/ApiGateway", "5XXError", API),
    "VpcLinkErrors": (OWN, "VpcLinkErrors", {}),
    "Alb5xx": ("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", ALB),
    "PublicAlb5xx": ("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", {"LoadBalancer": "PublicAlbArn"}),
    "Gateway5xx": ("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", TARGET),
    "IteratorAge": ("AWS/Lambda", "IteratorAge", {"FunctionName": "ModelDispatch"}),
    "LimitAlertIteratorAge": ("AWS/Lambda", "IteratorAge", {"FunctionName": "LimitAlert"}),
    **{
        f"Model{verb}{end}": ("AWS/States", f"Executions{end}", {"StateMachineArn": f"Model{verb}StateMachineArn"})
        for verb in ("Create", "Delete")
        for end in ("Failed", "TimedOut")
    },
    **{
        f"LongIngestion{end}": (
            "AWS/States", f"Executions{end}", {"StateMachineArn": "DocumentIngestLongStateMachineArn"}
        )
        for end in ("Failed", "TimedOut")
    },
    **{
        f"{stack}FunctionErrors": (OWN, f"{stack}FunctionErrors", {})
        for stack in ("Models", "Usage", "Audit", "Limits", "Ingestion")
    },
    "AuditEventsNotDelivered": (OWN, "AuditEventsNotDelivered", {}),
    **{
        f"{queue}NotEmpty": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": queue})
        for queue in ("StreamFailures", "UsageDeadLetters", "AuditDeadLetters", "AlertFailures", "IngestionDeadLetters")
    },
}  # fmt: skip


def test_every_alarm_is_thought_of() -> None:
    assert set(ALARMS) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_an_alarm_watches_what_it_says_and_says_it_to_the_topic(name: str) -> None:
    alarm = ALARMS[name]
    assert (alarm["Namespace"], alarm["MetricName"], dimensions(alarm)) == EXPECTED[name]
    assert alarm["AlarmActions"] == [{"Ref": "Alarms"}]
    # Where nothing happens there is no metric, and that is no trouble.
    assert alarm["TreatMissingData"] == "notBreaching"
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    assert "docs/operations.md" in alarm["AlarmDescription"]
    assert f"`{name}`" in (ROOT / "docs/operations.md").read_text(), "say there what to do when it rings"


def dead_letters() -> set[str]:
    """The logical names of all queues of what could not be handled, in any template."""
    found = set()
    for path in TEMPLATES:
        stack = Stack(path)
        for node in walk(stack.template):
            if not isinstance(node, dict):
                continue
            for target in (
                node.get("deadLetterTargetArn"),
                node.get("DeadLetterConfig", {}).get("Arn")
                if isinstance(node.get("DeadLetterConfig"), dict)
                else None,
                node.get("OnFailure", {}).get("Destination")
                if isinstance(node.get("OnFailure"), dict)
                else None,
            ):
                match target:
                    case {"Fn::GetAtt": [str(name), "Arn"]}:
                        found.add(name)
                    case {"Ref": str(name)}:
                        found.add(name)
    return found


def test_every_dead_letter_queue_has_an_alarm_and_it_rings_at_the_first_message() -> None:
    queues = {f"{name}NotEmpty" for name in dead_letters()}
    assert queues == {name for name in ALARMS if name.endswith("NotEmpty")}
    for name in queues:
        assert ALARMS[name]["Threshold"] == 0
        assert ALARMS[name]["Statistic"] == "Maximum"


def test_the_alarm_of_a_queue_is_given_that_very_queue() -> None:
    given = application().resources["Observability"]["Properties"]["Parameters"]
    for name in dead_letters():
        stack, output = given[name]["Fn::GetAtt"]
        child = application().child(application().resources[stack])
        assert child.template["Outputs"][output.removeprefix("Outputs.")]["Value"] == {
            "Fn::GetAtt": [name, "QueueName"]
        }


def test_a_metric_of_our_own_is_counted_from_a_log_that_exists() -> None:
    groups = {
        node["LogGroupName"]["Fn::Sub"]
        for path in TEMPLATES
        for resource in Stack(path).resources.values()
        if resource["Type"] == "AWS::Logs::LogGroup"
        for node in [resource["Properties"]]
    }
    counted = set()
    for name, each in FILTERS.items():
        assert each["LogGroupName"]["Fn::Sub"] in groups, name
        (metric,) = each["MetricTransformations"]
        assert metric["MetricNamespace"] == OWN
        counted.add(metric["MetricName"])
    assert counted == {alarm["MetricName"] for alarm in ALARMS.values() if alarm["Namespace"] == OWN}


def test_lost_audit_events_are_counted_by_the_words_that_are_logged() -> None:
    from lisa.audit.publisher import NOT_DELIVERED

    patterns = {FILTERS[name]["FilterPattern"] for name in ("ApiAuditLosses", "GatewayAuditLosses")}
    assert patterns == {f'{{ $.message = "{NOT_DELIVERED}" }}'}


def test_functions_whose_runs_are_counted_log_in_json() -> None:
    """Only then does Lambda report each run as a document, with its status."""
    for name in ("models", "usage", "audit", "limits", "rag"):
        text = (ROOT / f"stacks/{name}.yaml").read_text()
        assert (
            text.count("LogGroup: !Ref FunctionLogs")
            == text.count("LogGroup: !Ref FunctionLogs, LogFormat: JSON")
            > 0
        )


def test_mail_is_sent_where_somebody_asked_for_it() -> None:
    for address, there in (("", False), ("ops@example.com", True)):
        stack = Stack(WATCH.path, {"AlarmEmail": address})
        assert ("Mail" in stack.created(), "Alarms" in stack.created()) == (there, True)


# --- The dashboard


def test_the_dashboard_is_what_cloudwatch_takes_and_shows_what_is_watched() -> None:
    text = WATCH.resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    widgets = json.loads(text)["widgets"]
    places = [(w["x"], w["y"]) for w in widgets]
    assert len(set(places)) == len(places)
    assert all(w["x"] + w["width"] <= 24 for w in widgets)
    # Every name that is put in is a parameter
    names = set(re.findall(r"\$\{(\w+)\}", text))
    assert names <= set(WATCH.template["Parameters"])
    shown = json.dumps(widgets)
    for metric in (
        "Count", "5XXError", "Latency", "PromptTokens", "CompletionTokens", "Cost", "CPUUtilization",
        "MemoryUtilization", "RunningTaskCount", "ApproximateNumberOfMessagesVisible", "IteratorAge", "Errors",
        "Throttles", "ExecutionsFailed", "HTTPCode_ELB_5XX_Count",
    ):  # fmt: skip
        assert metric in shown, metric
    for queue in dead_letters():
        assert f"${{{queue}}}" in text
