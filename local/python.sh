#!/bin/sh
# Prints the Python interpreter to set LISA up with: $PYTHON if given, else that of an earlier
# setup, else the first suitable one on the PATH.
suitable='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

if [ -n "$PYTHON" ]; then
    set -- "$PYTHON"
    problem="$PYTHON cannot be run"
else
    set -- .venv/bin/python python3 python3.13 python3.12 python3.11 python
    problem="no Python is on the PATH"
fi

for candidate in "$@"; do
    if "$candidate" -c "$suitable" >/dev/null 2>&1; then
        echo "$candidate"
        exit 0
    fi
done

for candidate in "$@"; do
    if found=$("$candidate" --version 2>&1); then
        problem="$candidate is $found"
        break
    fi
done
echo "LISA needs Python 3.11, 3.12 or 3.13, but $problem." >&2
echo "Install one of them, or name it: make up PYTHON=/path/to/python3.12" >&2
exit 1
