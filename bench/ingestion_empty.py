"""The pipeline of ingestion with workers that do nothing: the same queue, dispatcher and state machine around them.

What it takes in a second is the most that any worker could: bench/ingestion.py compares the real ones with it.
"""

import io
import json
import time
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from lisa_local.cloud import LocalCloud

STEPS = ("DocumentCheck", "DocumentParse", "DocumentEmbed", "DocumentStore", "DocumentCommit")

# A step that hands on what the next one chooses by, and no more.
HANDLER = """
def handler(event, context):
    if "batch" in event:
        return {"number": 0}
    return {**event, "open": 1, "left": 0, "items": [{"job_id": "-"}], "batches": [{"number": 0}]}
"""


class EmptyPipeline:
    """Made beside the real one by the operator's credentials; `close` removes it."""

    def __init__(self, cloud: LocalCloud, logical: dict[str, dict[str, Any]]) -> None:
        """`logical`: configurations of deployed functions by their names in the template."""
        self.name = f"bench-empty-{uuid.uuid4().hex[:8]}"
        self._s3, self._sqs, self._events = (cloud.client(each) for each in ("s3", "sqs", "events"))
        self._functions, self._machines, self._iam = (
            cloud.client(each) for each in ("lambda", "stepfunctions", "iam")
        )
        self._made_functions: list[str] = []
        role = self._role()
        self._bucket_and_queue()
        dispatch = logical["DocumentDispatch"]
        machine = dispatch["Environment"]["Variables"]["LISA_DOCUMENT_INGEST_STATE_MACHINE_ARN"]
        definition = self._machines.describe_state_machine(stateMachineArn=machine)["definition"]
        for step in STEPS:
            made = self._function(step, HANDLER.encode(), role, dispatch["Runtime"])
            definition = definition.replace(logical[step]["FunctionArn"], made)
        self._machine = self._machines.create_state_machine(
            name=self.name, definition=definition, roleArn=role, type="EXPRESS"
        )["stateMachineArn"]
        self._dispatcher(dispatch, role)

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
            time.sleep(0.5)
        return files / (time.perf_counter() - started)

    def close(self) -> None:
        self._functions.delete_event_source_mapping(UUID=self._source)
        self._events.remove_targets(Rule=self.name, Ids=["queue"])
        self._events.delete_rule(Name=self.name)
        self._sqs.delete_queue(QueueUrl=self._queue)
        self._machines.delete_state_machine(stateMachineArn=self._machine)
        for name in self._made_functions:
            self._functions.delete_function(FunctionName=name)
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name):
            keys = [{"Key": each["Key"]} for each in page.get("Contents", [])]
            if keys:
                self._s3.delete_objects(Bucket=self.name, Delete={"Objects": keys, "Quiet": True})
        self._s3.delete_bucket(Bucket=self.name)
        self._iam.delete_role_policy(RoleName=self.name, PolicyName="all")
        self._iam.delete_role(RoleName=self.name)

    def _role(self) -> str:
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": ["lambda.amazonaws.com", "states.amazonaws.com"]},
        }
        document = {"Version": "2012-10-17", "Statement": [{**trust, "Action": "sts:AssumeRole"}]}
        arn = self._iam.create_role(RoleName=self.name, AssumeRolePolicyDocument=json.dumps(document))[
            "Role"
        ]["Arn"]
        everything = {
            "Effect": "Allow",
            "Action": ["lambda:*", "states:*", "sqs:*", "logs:*"],
            "Resource": "*",
        }
        self._iam.put_role_policy(
            RoleName=self.name,
            PolicyName="all",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
        )
        return str(arn)

    def _bucket_and_queue(self) -> None:
        self._s3.create_bucket(Bucket=self.name)
        self._queue = self._sqs.create_queue(
            QueueName=self.name, Attributes={"VisibilityTimeout": "1980", "SqsManagedSseEnabled": "true"}
        )["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [self.name]}}}
        rule = self._events.put_rule(Name=self.name, EventPattern=json.dumps(pattern))["RuleArn"]
        allowed = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
        }
        self._sqs.set_queue_attributes(
            QueueUrl=self._queue,
            Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [allowed]})},
        )
        self._events.put_targets(Rule=self.name, Targets=[{"Id": "queue", "Arn": arn}])
        self._s3.put_bucket_notification_configuration(
            Bucket=self.name, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
        self._queue_arn = arn

    def _function(self, step: str, code: bytes, role: str, runtime: str) -> str:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("app.py", code)
        name = f"{self.name}-{step}"
        made = self._functions.create_function(
            FunctionName=name,
            Runtime=runtime,
            Role=role,
            Handler="app.handler",
            Code={"ZipFile": file.getvalue()},
            Timeout=60,
        )
        self._made_functions.append(name)
        return str(made["FunctionArn"])

    def _dispatcher(self, real: dict[str, Any], role: str) -> None:
        """Our own function's code, with the other queue and machine."""
        variables = {
            **real["Environment"]["Variables"],
            "LISA_WORK_QUEUE_URL": self._queue,
            "LISA_INTERACTIVE_QUEUE_URL": self._queue,
            "LISA_DOCUMENT_INGEST_STATE_MACHINE_ARN": self._machine,
        }
        code = Path(__file__).parents[1] / "functions/document_dispatch/app.py"
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.write(code, "app.py")
        name = f"{self.name}-dispatch"
        self._functions.create_function(
            FunctionName=name,
            Runtime=real["Runtime"],
            Role=role,
            Handler="app.handler",
            Code={"ZipFile": file.getvalue()},
            Timeout=real["Timeout"],
            MemorySize=real["MemorySize"],
            Layers=[each["Arn"] for each in real["Layers"]],
            Environment={"Variables": variables},
        )
        self._made_functions.append(name)
        sources = self._functions.list_event_source_mappings(FunctionName=real["FunctionName"])
        like = sources["EventSourceMappings"][0]
        self._source = self._functions.create_event_source_mapping(
            FunctionName=name,
            EventSourceArn=self._queue_arn,
            BatchSize=like["BatchSize"],
            FunctionResponseTypes=["ReportBatchItemFailures"],
            ScalingConfig=like["ScalingConfig"],
        )["UUID"]

    def _left(self) -> int:
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        try:
            found = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=names)["Attributes"]
        except ClientError:
            return 1
        return sum(int(found[name]) for name in names)
