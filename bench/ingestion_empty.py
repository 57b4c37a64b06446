"""The pipeline of ingestion with workers that do nothing: the same queue, dispatcher and state machine around them.

What it takes in a second is the most that any worker could: bench/ingestion.py compares the real ones with it.
"""

import json
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lisa_local.cloud import LocalCloud

STEPS = ("DocumentCheck", "DocumentParse", "DocumentEmbed", "DocumentStore", "DocumentCommit")
DISPATCHER = Path(__file__).parents[1] / "functions/document_dispatch/app.py"

PATIENCE: Any = {"Delay": 1, "MaxAttempts": 120}

# Steps that hand on what the next one chooses by, and no more.
LAST = """
def handler(event, context):
    return {"long": []}
"""
HANDLER = """
def handler(event, context):
    if "batch" in event:
        return {"number": 0}
    items, batches = [{"job_id": "-"}], [{"number": 0}]
    return {**event, "open": 1, "left": 0, "items": items, "batches": batches}
"""


class EmptyPipeline:
    """A stack beside the real one; `close` removes it."""

    def __init__(self, cloud: LocalCloud, real: dict[str, dict[str, Any]]) -> None:
        """`real`: configurations of deployed functions by their names in the template."""
        self.name = f"lisa-bench-empty-{uuid.uuid4().hex[:8]}"
        self._s3, self._sqs, self._stacks = (cloud.client(each) for each in ("s3", "sqs", "cloudformation"))
        variables = real["DocumentDispatch"]["Environment"]["Variables"]
        definition = cloud.client("stepfunctions").describe_state_machine(
            stateMachineArn=variables["LISA_DOCUMENT_INGEST_STATE_MACHINE_ARN"]
        )["definition"]
        for step in STEPS:
            definition = definition.replace(real[step]["FunctionArn"], f"${{{step}.Arn}}")
        changes: Any = self._stacks.create_change_set(
            StackName=self.name,
            ChangeSetName=self.name,
            ChangeSetType="CREATE",
            TemplateBody=json.dumps(_template(self.name, definition, real["DocumentDispatch"])),
            Capabilities=["CAPABILITY_IAM"],
        )["Id"]
        self._stacks.get_waiter("change_set_create_complete").wait(
            ChangeSetName=changes, WaiterConfig=PATIENCE
        )
        self._stacks.execute_change_set(ChangeSetName=changes)
        self._stacks.get_waiter("stack_create_complete").wait(StackName=self.name, WaiterConfig=PATIENCE)
        self._queue = self._sqs.get_queue_url(QueueName=self.name)["QueueUrl"]

    def run(self, files: int) -> float:
        """Files/s of so many, dropped at once."""
        started = time.perf_counter()
        with ThreadPoolExecutor(8) as pool:
            list(
                pool.map(
                    lambda n: self._s3.put_object(Bucket=self.name, Key=f"r/c/{n}.txt", Body=b"x"),
                    range(files),
                )
            )
        while self._left():
            if time.perf_counter() - started > 60 + files:
                sys.exit("the pipeline with empty workers does not come to an end")
            time.sleep(0.5)
        return files / (time.perf_counter() - started)

    def close(self) -> None:
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name):
            keys: Any = [{"Key": each["Key"]} for each in page.get("Contents", [])]
            if keys:
                self._s3.delete_objects(Bucket=self.name, Delete={"Objects": keys, "Quiet": True})
        self._stacks.delete_stack(StackName=self.name)

    def _left(self) -> int:
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)


def _template(name: str, definition: str, dispatch: dict[str, Any]) -> dict[str, Any]:
    def resource(kind: str, **properties: Any) -> dict[str, Any]:
        return {"Type": f"AWS::{kind}", "Properties": properties}

    def function(code: str, **more: Any) -> dict[str, Any]:
        return resource(
            "Lambda::Function",
            Runtime=dispatch["Runtime"],
            Architectures=dispatch["Architectures"],
            Handler="index.handler",
            Role={"Fn::GetAtt": ["Role", "Arn"]},
            Code={"ZipFile": code},
            **{"Timeout": 60, **more},
        )

    services = ["lambda.amazonaws.com", "states.amazonaws.com"]
    may = {
        "Effect": "Allow",
        "Action": [
            "lambda:InvokeFunction",
            "states:StartSyncExecution",
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
        ],
        "Resource": "*",
    }
    queue = {"Fn::GetAtt": ["Queue", "Arn"]}
    variables = {
        **dispatch["Environment"]["Variables"],
        "LISA_WORK_QUEUE_URL": {"Ref": "Queue"},
        "LISA_INTERACTIVE_QUEUE_URL": {"Ref": "Queue"},
        "LISA_DOCUMENT_INGEST_STATE_MACHINE_ARN": {"Ref": "Machine"},
    }
    bucket = resource(
        "S3::Bucket",
        BucketName=name,
        NotificationConfiguration={"EventBridgeConfiguration": {"EventBridgeEnabled": True}},
    )
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {
            "Bucket": bucket,
            "Queue": resource("SQS::Queue", QueueName=name, VisibilityTimeout=1980),
            "Rule": resource(
                "Events::Rule",
                EventPattern={"source": ["aws.s3"], "detail": {"bucket": {"name": [name]}}},
                Targets=[{"Id": "queue", "Arn": queue}],
            ),
            "QueuePolicy": resource(
                "SQS::QueuePolicy",
                Queues=[{"Ref": "Queue"}],
                PolicyDocument={
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "events.amazonaws.com"},
                            "Action": "sqs:SendMessage",
                            "Resource": queue,
                        }
                    ],
                },
            ),
            "Role": resource(
                "IAM::Role",
                AssumeRolePolicyDocument={
                    "Version": "2012-10-17",
                    "Statement": [
                        {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
                    ],
                },
                Policies=[
                    {"PolicyName": "all", "PolicyDocument": {"Version": "2012-10-17", "Statement": [may]}}
                ],
            ),
            **{step: function(LAST if step == STEPS[-1] else HANDLER) for step in STEPS},
            "Machine": resource(
                "StepFunctions::StateMachine",
                StateMachineType="EXPRESS",
                RoleArn={"Fn::GetAtt": ["Role", "Arn"]},
                DefinitionString={"Fn::Sub": definition},
            ),
            "Dispatch": function(
                DISPATCHER.read_text(),
                Timeout=dispatch["Timeout"],
                MemorySize=dispatch["MemorySize"],
                Layers=[each["Arn"] for each in dispatch["Layers"]],
                Environment={"Variables": variables},
            ),
            # As stacks/rag.yaml has it on one machine.
            "Source": resource(
                "Lambda::EventSourceMapping",
                FunctionName={"Ref": "Dispatch"},
                EventSourceArn=queue,
                BatchSize=10,
                FunctionResponseTypes=["ReportBatchItemFailures"],
                ScalingConfig={"MaximumConcurrency": 3},
            ),
        },
    }
