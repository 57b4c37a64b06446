"""Pipelines that run by the clock: each is a schedule of EventBridge Scheduler that has its folder looked through."""

import hashlib
import json
from typing import Any

from lisa.rag.records import Pipeline, Repository

DAILY = "cron(0 0 * * ? *)"


class PipelineSchedules:
    """`client` and `functions` are low-level clients of EventBridge Scheduler and Lambda.

    `find_arn` is the function that looks through a folder, `role_arn` as whom the scheduler calls it.
    """

    def __init__(self, deployment: str, client: Any, functions: Any, *, find_arn: str, role_arn: str) -> None:
        self._deployment = deployment
        self._client = client
        self._functions = functions
        self._find_arn = find_arn
        self._role_arn = role_arn

    def apply(self, repository: Repository) -> None:
        """Makes the schedules what the repository's pipelines say, and has every folder looked through once.

        May be called again after any failure. A file that was there before a pipeline is ingested by that look.
        """
        wanted = {self._name(repository.id, each): each for each in repository.pipelines if expression(each)}
        there = self._there(repository.id)
        for name in there - set(wanted):
            self._delete(name)
        for name, pipeline in wanted.items():
            settings = self._settings(repository.id, name, pipeline)
            if name in there:
                self._client.update_schedule(**settings)
            else:
                self._create(settings)
        for pipeline in repository.pipelines:
            self._functions.invoke(
                FunctionName=self._find_arn,
                InvocationType="Event",
                Payload=json.dumps({"pipeline": f"{repository.id}/{pipeline.id}"}),
            )

    def remove(self, repository_id: str) -> None:
        for name in self._there(repository_id):
            self._delete(name)

    def _create(self, settings: dict[str, Any]) -> None:
        try:
            self._client.create_schedule(**settings)
        except self._client.exceptions.ConflictException:
            self._client.update_schedule(**settings)

    def _delete(self, name: str) -> None:
        try:
            self._client.delete_schedule(Name=name)
        except self._client.exceptions.ResourceNotFoundException:
            return

    def _there(self, repository_id: str) -> set[str]:
        pages = self._client.get_paginator("list_schedules").paginate(NamePrefix=self._prefix(repository_id))
        return {each["Name"] for page in pages for each in page["Schedules"]}

    def _settings(self, repository_id: str, name: str, pipeline: Pipeline) -> dict[str, Any]:
        return {
            "Name": name,
            "Description": f"LISA: pipeline {pipeline.id} of the repository {repository_id}",
            "ScheduleExpression": expression(pipeline),
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": self._find_arn,
                "RoleArn": self._role_arn,
                "Input": json.dumps({"pipeline": f"{repository_id}/{pipeline.id}"}),
            },
        }

    def _name(self, repository_id: str, pipeline: Pipeline) -> str:
        return self._prefix(repository_id) + _short(pipeline.id)

    def _prefix(self, repository_id: str) -> str:
        """64 characters are a name's limit, and no repository's prefix begins another's."""
        return f"{self._deployment}-pipeline-{_short(repository_id)}-"


def expression(pipeline: Pipeline) -> str:
    """The schedule in EventBridge Scheduler's words; empty for a pipeline that waits for events."""
    if pipeline.trigger == "event":
        return ""
    return pipeline.schedule or DAILY


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
