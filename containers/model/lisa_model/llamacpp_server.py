"""Runs llama.cpp's own HTTP server in this process.

It opens its port at once and answers 503 until the model is loaded.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path

import xllamacpp

from lisa_model.errors import StartError, WeightsError

# SIGTERM must end the container within 5 s; a rolling update has taken the target out of service before.
_DRAIN_S = 3.5
_TICK_S = 0.05
# A slot is free when the last token is made: its answer still has to be written.
_LAST_BYTES_S = 0.3


def main() -> int:
    options = _options()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set() if ready.is_set() else os._exit(0))
    ready = threading.Event()
    started = time.monotonic()
    try:
        server = xllamacpp.Server(parameters(options))
    except Exception as error:
        raise WeightsError(f"llama.cpp could not load {options.model.name}: {error}.") from error
    ready.set()
    print(
        f"serving {options.alias} on {server.listening_address} after {time.monotonic() - started:.1f} s",
        flush=True,
    )
    stop.wait()
    drain(server)
    # There is nothing to save, and the server's destructor can wait for ever for a request in flight.
    os._exit(0)


def drain(server: xllamacpp.Server) -> None:
    """Lets running requests end, for a while."""
    pause = threading.Event()
    now = time.monotonic()
    deadline, idle_since = now + _DRAIN_S, now
    while now < min(deadline, idle_since + _LAST_BYTES_S):
        pause.wait(_TICK_S)
        now = time.monotonic()
        if _busy(server):
            idle_since = now


def _busy(server: xllamacpp.Server) -> bool:
    counts = ("llamacpp:requests_processing ", "llamacpp:requests_deferred ")
    lines = (line for line in str(server.handle_metrics()).splitlines() if line.startswith(counts))
    return any(float(line.split()[-1]) > 0 for line in lines)


def parameters(options: argparse.Namespace) -> xllamacpp.CommonParams:
    """llama.cpp's parameters, with memory and what is shown to the network kept small."""
    p = xllamacpp.CommonParams()
    p.model.path = str(options.model)
    p.model_alias = {options.alias}
    p.hostnames = [options.host]
    p.port = options.port
    p.n_ctx = options.context
    p.n_parallel = options.parallel
    # One pool of context for all requests: any one of them may use the whole window, at the memory of one.
    p.kv_unified = True
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = options.threads
    p.n_batch = p.n_ubatch = options.batch_size
    cache_type = (
        xllamacpp.ggml_type.GGML_TYPE_Q8_0
        if options.cache_type == "q8_0"
        else xllamacpp.ggml_type.GGML_TYPE_F16
    )
    p.cache_type_k = p.cache_type_v = cache_type
    p.cache_ram_mib = 32  # prompts kept beside the slots' own; 8 GiB when not set
    if options.chat_template:
        p.chat_template = options.chat_template.read_text()
    p.endpoint_metrics = True
    p.endpoint_slots = p.endpoint_props = p.ui = False  # they show what others asked
    p.n_gpu_layers = 0
    # Only where a request says nothing: small models repeat themselves for ever otherwise, each token a CPU's time.
    p.n_predict = options.max_tokens
    p.sampling.penalty_repeat = options.repeat_penalty
    return p


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lisa_model.llamacpp_server")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--context", type=int, required=True)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--cache-type", choices=["f16", "q8_0"], default="f16")
    parser.add_argument("--chat-template", type=Path)
    parser.add_argument("--max-tokens", type=int, default=1024)
    parser.add_argument("--repeat-penalty", type=float, default=1.1)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StartError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(error.exit_code)
