"""The process that parses: bounded in memory and time, without credentials, and gone when it is not needed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lisa.rag.parsing import Limits, parse
from lisa.rag.parsing.kinds import Kind
from lisa.rag.parsing.sandbox import Child

from tests.unit.rag.parsing import hostile
from tests.unit.rag.parsing.documents import FOLDER, parsed, refusal

MEBIBYTE = 1 << 20
HTML = Kind("html", "text/html")
LARGE_XML = b"<r>" + b"<a>words</a>" * 2_000_000 + b"</r>"
"""24 MB, which take about 1 GB as a tree."""


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.close()


def children(pid: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def gone(pid: int, *, within: float = 10.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_memory_is_bounded() -> None:
    peak = 0
    done = threading.Event()
    started = threading.Event()

    def watch(pid: int) -> None:
        nonlocal peak
        while not done.is_set():
            for each in children(pid):
                try:
                    peak = max(peak, resident_bytes(each))
                except (FileNotFoundError, IndexError, ProcessLookupError):
                    continue
            started.set()
            done.wait(0.002)

    child = Child()
    child.ask(b"<p>ready</p>", HTML, Limits())
    assert child.pid is not None
    watcher = threading.Thread(target=watch, args=(child.pid,))
    watcher.start()
    started.wait(10)
    limits = Limits(memory_bytes=300 * MEBIBYTE)
    answer = child.ask(LARGE_XML, Kind("xml", "application/xml"), limits)
    done.set()
    watcher.join()
    base = resident_bytes(child.pid)
    child.close()
    assert answer.startswith(b'["Reading the file takes more memory than is allowed')
    assert 50 * MEBIBYTE < peak < 300 * MEBIBYTE
    assert base < 200 * MEBIBYTE  # what stands ready kept nothing of it


def test_an_archive_cannot_take_more_memory_either() -> None:
    body = hostile.paragraphs(["words"] * 600_000)
    refused = refusal(hostile.docx(body), "a.docx", Limits(memory_bytes=300 * MEBIBYTE))
    assert (refused.code, "memory" in refused.message) == ("too_complex", True)


def test_time_is_bounded() -> None:
    started = time.monotonic()
    refused = refusal(LARGE_XML, "a.xml", Limits(seconds=1))
    assert (refused.code, refused.message) == (
        "too_complex",
        "It takes more than 1 s to read the file: split or simplify it.",
    )
    assert time.monotonic() - started < 10


def test_time_of_the_processor_is_bounded() -> None:
    refused = refusal(LARGE_XML, "a.xml", Limits(cpu_seconds=1, memory_bytes=4 << 30))
    assert (refused.code, "takes more than" in refused.message) == ("too_complex", True)


def test_what_is_written_is_bounded() -> None:
    body = hostile.paragraphs(["words"] * 20_000)
    assert refusal(hostile.docx(body), "a.docx", Limits(characters=50_000)).code == "too_large"


def test_the_next_file_is_read_after_any_refusal() -> None:
    assert refusal(LARGE_XML, "a.xml", Limits(seconds=1)).code == "too_complex"
    assert "Trim the wick" in parsed("handbook.docx").text
    assert refusal((FOLDER / "encrypted.pdf").read_bytes(), "a.pdf").code == "encrypted"
    assert "Trim the wick" in parsed("handbook.pdf").text


def test_a_process_that_was_killed_is_replaced(child: Child) -> None:
    page = b"<p>words</p>"
    first = child.ask(page, HTML, Limits())
    killed = child.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    assert gone(killed)
    assert child.ask(page, HTML, Limits()) == first
    assert child.pid != killed


def test_nothing_is_left_behind(child: Child) -> None:
    child.ask(b"<p>words</p>", HTML, Limits())
    assert child.pid is not None
    pid = child.pid
    child.ask(LARGE_XML, Kind("xml", "application/xml"), Limits(seconds=1))
    assert children(pid) == []
    child.close()
    assert gone(pid)


def test_files_do_not_add_up(child: Child) -> None:
    page = b"<html>" + b"<p>words and words</p>" * 20_000 + b"</html>"
    for _ in range(3):
        child.ask(page, HTML, Limits())
    assert child.pid is not None
    before = resident_bytes(child.pid)
    for _ in range(30):
        child.ask(page, HTML, Limits())
    assert resident_bytes(child.pid) < before + 5 * MEBIBYTE


def test_it_has_no_credentials(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-pass-on")
    monkeypatch.setenv("LISA_SERVICE_KEY_SECRET", "do-not-pass-on")
    child.ask(b"<p>words</p>", HTML, Limits())
    environment = Path(f"/proc/{child.pid}/environ").read_bytes()
    assert b"PYTHONPATH=" in environment
    assert b"do-not-pass-on" not in environment
    assert b"AWS_" not in environment


def test_several_threads_may_parse() -> None:
    names = ["handbook.pdf", "handbook.docx", "slides.pptx", "stations.xlsx"] * 4
    alone = {name: parsed(name) for name in set(names)}
    found: dict[int, object] = {}

    def work(number: int, name: str) -> None:
        found[number] = parsed(name)

    threads = [threading.Thread(target=work, args=each) for each in enumerate(names)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(len(names))] == [alone[name] for name in names]


def test_it_ends_with_whoever_started_it() -> None:
    program = (
        "import sys, time; from pathlib import Path; from lisa.rag.parsing import parse, sandbox\n"
        "parse(b'<p>words</p>', 'a.html'); print(sandbox._child.pid, flush=True)\n"
        "from lisa.rag.parsing import Limits\n"
        "parse(b'<r>' + b'<a>words</a>' * 2_000_000 + b'</r>', 'a.xml', limits=Limits(memory_bytes=4 << 30))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    deadline = time.monotonic() + 20
    while not children(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    (worker,) = children(pid)
    process.kill()
    process.wait()
    process.stdout.close()
    assert gone(pid)
    assert gone(worker)


def test_simple_formats_start_no_process(child: Child) -> None:
    program = (
        "from lisa.rag.parsing import parse, sandbox\n"
        "for name in ('a.txt', 'a.md', 'a.csv', 'a.json', 'a.py', 'a.yaml', 'a.log'): parse(b'# words, words', name)\n"
        "print(sandbox._child.pid)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"None"


def test_a_file_by_its_path_is_the_same() -> None:
    path = FOLDER / "handbook.docx"
    assert parse(path, "handbook.docx") == parse(path.read_bytes(), "handbook.docx")
