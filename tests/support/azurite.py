"""Azurite, Microsoft's emulator of Azure Storage, installed by npm and run on loopback.

It is installed once, outside the checkout: into `$AZURITE_HOME`, by default
`~/.cache/cirq-azure-sessions/azurite`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

VERSION = "3.37.0"

HOME = Path(
    os.environ.get("AZURITE_HOME", Path.home() / ".cache" / "cirq-azure-sessions" / "azurite")
)

# The account that every Azurite has, with the key that its documentation prints.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def running_azurite() -> Iterator[str]:
    """Runs Azurite's blob service in memory, on a free port; gives its connection string.

    Skips the test, with the reason, where Azurite cannot be had.
    """
    options = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"]
    # Silent about requests only, which would fill the pipe that nobody empties.
    options += ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    process = subprocess.Popen(
        [_installed(), *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        endpoint = _endpoint(process)
        yield (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint={endpoint}/{ACCOUNT};"
        )
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _endpoint(process: subprocess.Popen[str]) -> str:
    """The address that Azurite prints once it listens."""
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.search(r"successfully listens? on (http://\S+)", line):
            return match[1]
    raise RuntimeError("Azurite ended before it listened.")


def _installed() -> str:
    """The path of Azurite's blob service, which npm installs if it is not there yet."""
    home = HOME / VERSION
    program = home / "node_modules" / ".bin" / "azurite-blob"
    if program.exists():
        return str(program)
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("Azurite needs npm, which is not installed")
    HOME.mkdir(parents=True, exist_ok=True)
    # Installed aside and then moved, so that no half of it is ever taken for the whole.
    with tempfile.TemporaryDirectory(dir=HOME) as scratch:
        command = [npm, "install", "--prefix", scratch, f"azurite@{VERSION}", "--ignore-scripts"]
        command += ["--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=30000"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if result.returncode != 0:
            # npm's first word on an error is its code, such as ENOTFOUND.
            errors = [line for line in result.stderr.splitlines() if line.startswith("npm err")]
            pytest.skip(f"Azurite cannot be installed: {errors[:1] or 'npm gives no reason'}")
        if not home.exists():
            Path(scratch).rename(home)
            Path(scratch).mkdir()
    return str(program)
