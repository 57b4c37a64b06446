"""What can go wrong before an engine runs, and the exit code that says so (codes follow BSD's sysexits)."""

from __future__ import annotations


class StartError(Exception):
    """Ends the entrypoint with one sentence, the last line on stderr."""

    exit_code = 70  # EX_SOFTWARE

    def __str__(self) -> str:
        # The line goes into a model's `reason`: whatever a library put into its message, it stays one line.
        return " ".join(super().__str__().split())


class ConfigurationError(StartError):
    """The environment asks for something that cannot work. Starting again will not help."""

    exit_code = 64  # EX_USAGE


class WeightsError(StartError):
    """The weights are missing, damaged or not for this engine. Starting again will not help."""

    exit_code = 65  # EX_DATAERR


class StoreUnavailableError(StartError):
    """S3 did not answer, in spite of retries. Starting again may help."""

    exit_code = 75  # EX_TEMPFAIL
