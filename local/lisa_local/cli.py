"""The command `lisa`: runs a local cloud, and puts weights into a weights bucket anywhere."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from lisa_local.console import Problem, Steps
from lisa_local.home import Home


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except Problem as problem:
        print(f"lisa {options.command}: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nlisa {options.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Who reads our output has seen enough (`lisa logs | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"lisa {options.command}: {_explain(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        if os.environ.get("LISA_DEBUG"):
            raise
        print(
            f"lisa {options.command}: {type(error).__name__}: {error} (LISA_DEBUG=1 shows where).",
            file=sys.stderr,
        )
        return 1


def _explain(error: OSError) -> str:
    if error.errno == 28:
        return "The disk is full: free some space, or set LISA_HOME to a folder on another disk."
    return f"{error.strerror or error}{': ' + str(error.filename) if error.filename else ''}."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lisa", description="LISA on one machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help_text: str, run: object) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_text, description=help_text)
        added.set_defaults(run=run)
        return added

    command("up", "start the local cloud, deploy to it, host two models", _up)
    command("down", "stop the local cloud, keep its data", _down)
    command("status", "what runs, how much memory it uses, which models there are", _status)
    logs = command("logs", "what a component or a container has written", _logs)
    logs.add_argument(
        "component", nargs="?", help="postgres, opensearch, engine, emulator, door, gateway, a model id, ..."
    )
    logs.add_argument("-f", "--follow", action="store_true", help="keep printing what is added")
    logs.add_argument(
        "-n", "--lines", type=int, default=100, metavar="N", help="how many lines (default 100)"
    )
    reset = command("reset", "stop the local cloud and delete everything in it", _reset)
    reset.add_argument("--yes", action="store_true", help="do not ask")
    token = command("token", "print a fresh sign-in token; or create, list, revoke API tokens", _token)
    token.add_argument("--user", default="admin", metavar="NAME", help="whose (default admin)")
    _add_token_actions(token)
    command("doctor", "look for what is wrong and say how to mend it", _doctor)
    models = command("models", "model weights", None).add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    push = models.add_parser("push", help="put a model's weights into the weights bucket")
    push.add_argument("folder", type=Path, metavar="DIR", help="the folder that the model's files lie in")
    push.add_argument("--name", required=True, metavar="ORG/MODEL", help="the model's modelName")
    push.add_argument("--stack", metavar="NAME", help="a stack deployed on AWS (default: the local cloud)")
    push.add_argument("--region", help="its region (default: that of your AWS configuration)")
    push.set_defaults(run=_push)
    rag = command("rag", "retrieval", None).add_subparsers(dest="action", required=True, metavar="ACTION")
    evaluate = rag.add_parser("eval", help="measure how well a collection is searched, by a judged dataset")
    evaluate.add_argument(
        "--dataset",
        type=Path,
        required=True,
        metavar="DIR",
        help="a folder with docs.jsonl, queries.*.jsonl and qrels.*.tsv",
    )
    evaluate.add_argument(
        "--collection", required=True, metavar="NAME", help="its name or id; made when it is not there"
    )
    evaluate.add_argument("--repository", default="default", metavar="ID", help="(default: default)")
    evaluate.add_argument("--rerank", default="", metavar="MODEL", help="a reranking model to try as well")
    evaluate.add_argument("--no-peers", action="store_true", help="leave bm25s and exact search out")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    evaluate.set_defaults(run=_rag_eval)
    _add_documents(commands)
    return parser


def _add_documents(commands: Any) -> None:
    documents = commands.add_parser("documents", help="documents to be searched")
    actions = documents.add_subparsers(dest="action", required=True, metavar="ACTION")
    push = actions.add_parser("push", help="put files into the drop folder, from where they are ingested")
    push.add_argument("files", type=Path, nargs="+", metavar="FILE", help="a file, or a folder with files")
    push.add_argument(
        "--repository", default="default", metavar="ID", help="which repository (default: default)"
    )
    push.add_argument(
        "--collection", default="", metavar="NAME", help="its id or name (default: the default one)"
    )
    push.add_argument("--stack", metavar="NAME", help="a stack deployed on AWS (default: the local cloud)")
    push.add_argument("--region", help="its region (default: that of your AWS configuration)")
    push.set_defaults(run=_push_documents)


def _add_token_actions(token: argparse.ArgumentParser) -> None:
    actions = token.add_subparsers(dest="action", metavar="ACTION")

    def action(name: str, help_text: str, run: object) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=help_text, description=help_text)
        # Without a default of its own, so that the name may stand before the action too.
        added.add_argument(
            "--user", default=argparse.SUPPRESS, metavar="NAME", help="who asks (default admin)"
        )
        added.set_defaults(run=run)
        return added

    create = action("create", "create an API token and print its secret, this once", _token_create)
    create.add_argument("--name", required=True, metavar="N", help="unique among the user's tokens")
    create.add_argument("--days", type=int, metavar="D", help="how long it is good for (default 90)")
    action("list", "the user's API tokens; everybody's for an administrator", _token_list)
    action("revoke", "end an API token", _token_revoke).add_argument("uuid", metavar="UUID")


def _up(_: argparse.Namespace) -> None:
    from lisa_local.bringup.up import up
    from lisa_local.down import down

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, interrupt)
    home = Home.locate()
    with home.command_lock("up"):
        print(f"LISA on this machine, state in {home.path}", flush=True)
        try:
            up(home, Steps())
        except KeyboardInterrupt:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            print("\nInterrupted: stopping what was started.", flush=True)
            down(home, Steps())
            raise
        except Problem as problem:
            raise Problem(
                f"{problem}\n(What was started still runs: `lisa status`, `lisa logs`, `lisa down`.)"
            ) from None


def _down(_: argparse.Namespace) -> None:
    from lisa_local.down import down

    home = Home.locate()
    with home.command_lock("down"):
        down(home, Steps())


def _reset(options: argparse.Namespace) -> None:
    from lisa_local.down import reset

    home = Home.locate()
    with home.command_lock("reset"):
        reset(home, Steps(), ask=not options.yes)


def _status(_: argparse.Namespace) -> int:
    from lisa_local.status import show_status

    return show_status(Home.locate())


def _logs(options: argparse.Namespace) -> None:
    from lisa_local.logs import show_logs

    show_logs(Home.locate(), options.component, lines=options.lines, follow=options.follow)


def _token(options: argparse.Namespace) -> None:
    from lisa_local import tokens
    from lisa_local.cloud import LocalCloud

    tokens.sign_in(LocalCloud(Home.locate()), options.user)


def _token_create(options: argparse.Namespace) -> None:
    from lisa_local import tokens
    from lisa_local.cloud import LocalCloud

    tokens.create(LocalCloud(Home.locate()), options.user, options.name, options.days)


def _token_list(options: argparse.Namespace) -> None:
    from lisa_local import tokens
    from lisa_local.cloud import LocalCloud

    tokens.show(LocalCloud(Home.locate()), options.user)


def _token_revoke(options: argparse.Namespace) -> None:
    from lisa_local import tokens
    from lisa_local.cloud import LocalCloud

    tokens.revoke(LocalCloud(Home.locate()), options.user, options.uuid)


def _doctor(_: argparse.Namespace) -> int:
    from lisa_local.doctor import examine

    return examine(Home.locate())


def _push(options: argparse.Namespace) -> None:
    from lisa_local import push

    push.push(options.folder, options.name, stack=options.stack, region=options.region)


def _rag_eval(options: argparse.Namespace) -> None:
    from lisa_local.cloud import LocalCloud
    from lisa_local.evaluation.run import evaluate

    evaluate(
        LocalCloud(Home.locate()),
        options.dataset,
        repository=options.repository,
        collection=options.collection,
        rerank=options.rerank,
        peers=not options.no_peers,
        report=options.json,
    )


def _push_documents(options: argparse.Namespace) -> None:
    from lisa_local import push

    push.push_documents(
        options.files, options.repository, options.collection, stack=options.stack, region=options.region
    )


if __name__ == "__main__":
    sys.exit(main())
