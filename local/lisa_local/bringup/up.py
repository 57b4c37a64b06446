"""`lisa up`: from nothing, or from where the last run ended, to a local cloud that answers."""

from __future__ import annotations

import shlex
import time
from concurrent.futures import ThreadPoolExecutor

from lisa_local import processes
from lisa_local.bringup import checks, models, repositories
from lisa_local.bringup.deploy import Deployment
from lisa_local.bringup.management import ManagementApi
from lisa_local.bringup.users import USERS, Directory
from lisa_local.cloud import LocalCloud
from lisa_local.component import ComponentError, write_private
from lisa_local.config import Config, claim_loopback_block
from lisa_local.console import Problem, Step, Steps, megabytes
from lisa_local.home import ROOT, Home
from lisa_local.opensearch import programs
from lisa_local.supervisor.control import ORDER, Control

GATEWAY_SECONDS = 120.0


def up(home: Home, steps: Steps) -> None:
    """Bring everything up. Whatever was done before is found and kept.

    Raises:
        Problem: something is in the way; the cloud is left as it is, to be looked at.
    """
    control = Control(home)
    with steps.step("checks"):
        config = _check(home, control)
    if config.opensearch.node:
        with steps.step("opensearch programs") as step:
            _prepare_opensearch(step)
    _start(config, control, steps)
    cloud = LocalCloud(home)
    _write_env(cloud)
    _deploy(cloud, steps)
    with steps.step("users") as step:
        changed = Directory(cloud).seed()
        step.note(f"{', '.join(user.name for user in USERS)}{'' if changed else ' (unchanged)'}")
    with steps.step("gateway ready"):
        _wait_for_gateway(cloud)
    _host_models(cloud, steps)
    with steps.step("repository default"):
        repositories.set_up(ManagementApi(cloud, Directory(cloud).token("admin")))
    print(welcome(config, home, steps.total()), flush=True)


def _check(home: Home, control: Control) -> Config:
    config = Config.prepare(home)
    running = control.status()
    if running is None:
        _end_leftovers(home)
    owned = {process.pid for process in processes.tree(running.pid)} if running else set()
    stored = Config.load(home)
    if running and stored and stored.ports != config.ports:
        raise Problem("The local cloud runs on other ports: stop it with `lisa down` before you change them.")
    if running and stored and stored.opensearch != config.opensearch:
        raise Problem("The local cloud runs with another OpenSearch: `lisa down` before you change that.")
    checks.require(checks.all_checks(home, config, owned=owned))
    if running is None:
        claim = claim_loopback_block(config.loopback_block)
        if claim is None:
            raise Problem(
                f"Another local cloud uses the addresses 127.{config.loopback_block}.x.y as this one does: "
                "stop it, or give this one new addresses with `lisa reset`."
            )
        claim.close()
    config.write(home)
    return config


def _end_leftovers(home: Home) -> None:
    """Components of a supervisor that was killed save their state and end; wait for that, then insist."""
    processes.end(processes.belonging_to(home.path), grace=30)


def _prepare_opensearch(step: Step) -> None:
    """Fetched here, for a component that is not ready within a minute is started again."""
    try:
        step.note(f"{programs.VERSION} in {programs.prepare()}")
    except ComponentError as error:
        raise Problem(str(error)) from None


def _start(config: Config, control: Control, steps: Steps) -> None:
    if not control.running():
        control.start()
    for component in ORDER:
        if component == "opensearch" and not config.opensearch.node:
            continue
        with steps.step(f"{component} ready"):
            control.wait_for(component)


def _write_env(cloud: LocalCloud) -> None:
    """Settings for other tools, to be sourced; the operator's key in it may use the buckets."""
    values = {
        "LISA_UI_URL": cloud.config.url,
        "LISA_API_URL": f"{cloud.config.url}/api",
        "LISA_SERVE_URL": f"{cloud.config.url}/v1",
        **cloud.environment(),
    }
    if cloud.home.deployment.exists():
        values["LISA_DOCUMENTS_BUCKET"] = cloud.output("DocumentsBucket")
    write_private(cloud.home.env, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))


def _deploy(cloud: LocalCloud, steps: Steps) -> None:
    deployment = Deployment(cloud)
    with steps.step("sam build") as step:
        if not deployment.build():
            step.note("unchanged since the last build")
    with steps.step("sam deploy"):
        deployment.deploy()
        deployment.write_outputs()
    _write_env(cloud)


def _wait_for_gateway(cloud: LocalCloud) -> None:
    deadline = time.monotonic() + GATEWAY_SECONDS
    last = "it was never asked"
    while time.monotonic() < deadline:
        try:
            answer = cloud.call("GET", "/health/readiness", timeout=5)
        except OSError as error:
            last = str(error)
        else:
            if answer.status == 200:
                return
            last = f"{answer.status} {answer.message}"
        time.sleep(0.2)
    raise Problem(
        f"The gateway is not ready after {GATEWAY_SECONDS:.0f} s ({last}): lisa logs gateway shows why."
    )


def _host_models(cloud: LocalCloud, steps: Steps) -> None:
    with steps.step("weights") as step:
        with ThreadPoolExecutor(len(models.MODELS)) as pool:
            results = list(pool.map(lambda model: models.push_weights(cloud, model), models.MODELS))
        sent = sum(result.bytes for result in results)
        step.note(megabytes(sent) if sent else "unchanged")
    token = Directory(cloud).token("admin")
    api = models.ModelsApi(cloud, token)
    with steps.step("models defined") as step:
        created = [model.model_id for model in models.MODELS if models.define(api, model)]
        step.note(", ".join(created) or "unchanged")
    for model in models.MODELS:
        with steps.step(f"{model.model_id} in service"):
            models.wait_in_service(api, model)


def welcome(config: Config, home: Home, seconds: float) -> str:
    lisa = ROOT / ".venv" / "bin" / "lisa"
    try:
        shown = lisa.relative_to(lisa.cwd())
    except ValueError:
        shown = lisa
    names = ", ".join(user.name for user in USERS)
    drop = f"{shown} documents push FILE"
    return f"""
LISA is ready after {seconds:.1f} s.

  Quick start   {config.url}
  OpenAI API    {config.url}/v1
  Management    {config.url}/api  (documented at {config.url}/api/docs)
  Sign in       as {names}; passwords in {home.credentials}

A first chat:

  export OPENAI_BASE_URL={config.url}/v1 OPENAI_API_KEY=$({shown} token)
  {shown.parent}/python -c "from openai import OpenAI; print(OpenAI().chat.completions.create(model='smollm2-135m', messages=[{{'role':'user','content':'Say hello'}}]).choices[0].message.content)"

A document to be searched (docs/retrieval.md): {drop}

  {shown} status | logs | down    what runs, what it says, stop it (the data stays)
"""  # noqa: E501 - a command to be copied
