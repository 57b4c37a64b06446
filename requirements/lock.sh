#!/bin/sh
# Resolves every *.in into its hash-locked *.txt, for all supported Pythons and platforms at once.
# Arguments are handed to uv, e.g. `sh requirements/lock.sh --upgrade-package boto3`.
set -eu
cd "$(dirname "$0")"

uv=../.venvs/lock/bin/uv
if [ ! -x "$uv" ]; then
    ../.venv/bin/python -m venv ../.venvs/lock
    ../.venvs/lock/bin/pip install --quiet --only-binary :all: uv
fi

compile() {
    name=$1
    shift
    echo "requirements/$name.txt"
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        "$name.in" --output-file "$name.txt" "$@"
}

# Later ones are constrained by earlier ones, so that shared packages have one version.
compile local "$@"
compile layer --override overrides-layer.txt "$@"
compile gateway --override overrides-gateway.txt "$@"
compile model --override overrides-model.txt "$@"
compile rag --override overrides-rag.txt "$@"
compile model-gpu "$@"
compile model-gpu-build "$@"
compile weights --no-deps "$@"
compile sam "$@"
compile dev --override overrides-rag.txt "$@"
