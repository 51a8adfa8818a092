"""The processes in which QIR is run, and the way to ask them; see `qir_worker`."""

from __future__ import annotations

import atexit
import base64
import contextlib
import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from cirq_azure_sessions.emulator.programs.failure import invalid_input, took_too_long

__all__ = ["QirProcesses"]

_WORKER = Path(__file__).with_name("qir_worker.py")

# Seconds of the machine's own time, whatever clock the emulator runs on.
_TIME_LIMIT = 60.0


class QirProcesses:
    """Processes that run QIR, started when needed and kept for the next program.

    Thread-safe. At most as many run as the machine has processors.
    """

    def __init__(self, time_limit: float = _TIME_LIMIT) -> None:
        self._time_limit = time_limit
        self._free = threading.BoundedSemaphore(os.cpu_count() or 1)
        # State: the processes that nobody uses now; a process belongs to whoever took it out.
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        atexit.register(self.close)

    def ask(self, action: str, qir: bytes, entry_point: str | None, **fields: Any) -> Any:
        """Has a program read or run.

        Returns:
            The value that the worker answers.

        Raises:
            ProgramError: If the program is at fault, or takes too long.
        """
        request = {
            "action": action,
            "qir": base64.b64encode(qir).decode(),
            "entry_point": entry_point,
            **fields,
        }
        with self._free:
            process = self._take() or _start()
            answer = self._exchange(process, request)
            self._idle.put(process)
        if "error" in answer:
            raise invalid_input(f"The QIR program cannot be run: {answer['error']}")
        return answer["value"]

    def close(self) -> None:
        """Ends the processes that nobody uses. New ones are started when needed."""
        while process := self._take():
            _end(process)

    def _take(self) -> subprocess.Popen[bytes] | None:
        """An idle process that is still alive, or None."""
        with contextlib.suppress(queue.Empty):
            while True:
                process = self._idle.get_nowait()
                if process.poll() is None:
                    return process
                _end(process)
        return None

    def _exchange(self, process: subprocess.Popen[bytes], request: dict[str, Any]) -> Any:
        """One request and its answer; if none comes, the process is gone."""
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._time_limit, give_up)
        timer.start()
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = b""
        finally:
            timer.cancel()
        if line.endswith(b"\n"):
            return json.loads(line)
        _end(process)
        if late.is_set():
            raise took_too_long()
        raise invalid_input("The QIR program cannot be run: the simulator crashed.")


def _start() -> subprocess.Popen[bytes]:
    if importlib.util.find_spec("qdk") is None:
        raise invalid_input("QIR needs qdk: pip install 'cirq-azure-sessions[emulator]'.")
    return subprocess.Popen(
        # Without -P the worker's own folder would be searched for modules first.
        [sys.executable, "-P", str(_WORKER)],
        # What runs on the emulator stays on this machine.
        env={**os.environ, "QDK_PYTHON_TELEMETRY": "none"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
