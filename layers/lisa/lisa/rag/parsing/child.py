"""The process behind `sandbox.py`: it forks one for each file, limits it, and passes on what it writes.

A request is a line of JSON with the kind, the limits and the size, then the file. An answer is its length in eight
bytes, then a document as a JSON object, or a refusal as a JSON array of reason and code. The forked process
writes the same into a pipe.
"""

import contextlib
import importlib
import json
import os
import re
import resource
import select
import signal
import sys
import time
from pathlib import Path
from types import ModuleType

from lisa.rag.parsing.document import DocumentRefused, Limits, ParsedDocument
from lisa.rag.parsing.kinds import Kind

_PARSERS = {
    "pdf": "pdf",
    "zip": "archive",
    "xls": "sheets",
    "rtf": "rtf",
    "html": "html",
    "xml": "xml",
    "mail": "mail",
}
# A character may take so many bytes in JSON, the marks of headings and pages come on top.
_BYTES_A_CHARACTER = 6
_MARKS_BYTES = 16 << 20
_CPU_GRACE_SECONDS = 2
_LENGTH_BYTES = 8
_NEAR = 0.6


def main() -> None:
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints reaches the answers
    asker = os.getppid()
    while line := requests.readline():
        request = json.loads(line)
        data = requests.read(request["size"])
        if len(data) < request["size"]:
            return
        answers.write(_framed(_serve(data, Kind(**request["kind"]), Limits(**request["limits"]), asker)))
        answers.flush()
        del data


def _framed(answer: bytes) -> bytes:
    return len(answer).to_bytes(_LENGTH_BYTES, "big") + answer


def _serve(data: bytes, kind: Kind, limits: Limits, asker: int) -> bytes:
    _parser(kind)  # its libraries are loaded once, here, and not in each process that is forked
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _work(data, kind, limits, writing)
    os.close(writing)
    answer, is_late = b"", False
    try:
        answer, is_late = _collect(reading, limits, asker)
    finally:
        os.close(reading)
        if is_late:
            os.kill(pid, signal.SIGKILL)
        status = _reap(pid)
    if len(answer) >= _LENGTH_BYTES and len(answer) == _LENGTH_BYTES + int.from_bytes(
        answer[:_LENGTH_BYTES], "big"
    ):
        return answer[_LENGTH_BYTES:]
    return _why(status, is_late=is_late, limits=limits)


def _reap(pid: int) -> int:
    """The status of a process that has ended by itself, or of one that is ended."""
    for _ in range(100):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.001)  # its pipe is closed: it is about to end
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _why(status: int, *, is_late: bool, limits: Limits) -> bytes:
    """What is said of a process that gave no whole answer."""
    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if is_late or ended_by == signal.SIGXCPU:
        return _refusal(
            f"It takes more than {limits.seconds} s to read the file: split or simplify it.", "too_complex"
        )
    # Libraries without memory abort or trap themselves; PDFium is one of them.
    if ended_by in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE) or status == 0:
        return _refusal("The file is damaged in a way that its format's reader cannot cope with.", "corrupt")
    return _refusal(
        "Reading the file takes more memory than is allowed: split or simplify it.", "too_complex"
    )


def _collect(pipe: int, limits: Limits, asker: int) -> tuple[bytes, bool]:
    """What the process writes until it ends; nothing, and whether it was late, when it goes beyond a limit."""
    deadline = time.monotonic() + limits.seconds
    most = limits.characters * _BYTES_A_CHARACTER + _MARKS_BYTES
    parts: list[bytes] = []
    size = 0
    while size <= most:
        left = deadline - time.monotonic()
        if left <= 0:
            return b"", True
        ready, _, _ = select.select([pipe], [], [], min(1.0, left))
        if os.getppid() != asker:  # nobody waits for the answer any more
            os.killpg(0, signal.SIGKILL)
        if not ready:
            continue
        part = os.read(pipe, 1 << 20)
        if not part:
            return b"".join(parts), False
        parts.append(part)
        size += len(part)
    return b"", False


def _parser(kind: Kind) -> ModuleType:
    return importlib.import_module(f"lisa.rag.parsing.formats.{_PARSERS[kind.name]}")


def _work(data: bytes, kind: Kind, limits: Limits, pipe: int) -> None:
    """Parses in the forked process, and ends it."""
    code = 1
    try:
        os.close(0)
        _limit(limits)
        with os.fdopen(pipe, "wb") as answer:
            answer.write(_framed(_answer(data, kind, limits)))
        code = 0
    except MemoryError:
        pass
    finally:
        os._exit(code)


def _limit(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + _CPU_GRACE_SECONDS))
    for what, most in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
    ):
        resource.setrlimit(what, (most, most))


def _answer(data: bytes, kind: Kind, limits: Limits) -> bytes:
    try:
        document: ParsedDocument = _parser(kind).parse(data, kind, limits)
        return document.dumps()
    except DocumentRefused as refused:
        if refused.code == "corrupt" and _had_too_little(limits):
            raise MemoryError from None
        return _refusal(refused.message, refused.code)
    except RecursionError:
        return _refusal("The file is nested too deep to be read.", "too_complex")
    except MemoryError:
        raise
    except (
        BaseException
    ) as error:  # whatever a library meets in a file that is not as its format says; Rust's panics
        if _had_too_little(limits):
            raise MemoryError from None
        with contextlib.suppress(OSError):
            print(f"parser {kind.name}: {type(error).__name__}", file=sys.stderr)
        return _refusal("The file is damaged, or not what its name says.", "corrupt")


def _had_too_little(limits: Limits) -> bool:
    """Whether memory came near its limit: libraries tell its end in many ways, as an error of the file's for one."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    peak = re.search(r"^VmPeak:\s*(\d+) kB", status, re.MULTILINE)
    return peak is not None and int(peak[1]) * 1024 > _NEAR * limits.memory_bytes


def _refusal(reason: str, code: str) -> bytes:
    return json.dumps([reason, code]).encode()


if __name__ == "__main__":
    main()
