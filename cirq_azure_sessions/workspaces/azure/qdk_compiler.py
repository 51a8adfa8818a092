"""A script that compiles OpenQASM 3 or Q# to QIR, which `programs` runs as a process.

qdk unrolls loops and allocates registers while it compiles, without limits, and cannot be
interrupted. The script imports nothing of the package, so that it starts at once.
"""

from __future__ import annotations

import json
import sys

# The exit code if qdk cannot compile the program, which it explains on stderr.
NOT_COMPILED = 3


def main() -> None:
    """Reads the program, the Q# expression or null, the QIR profile and the limits; writes QIR."""
    text, entry, profile, seconds, max_bytes = json.load(sys.stdin)
    try:
        import resource
    except ImportError:
        # There is none on Windows, where only the parent limits the time.
        pass
    else:
        # Also where the parent is killed.
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))
    from qdk import openqasm, qsharp

    try:
        qsharp.init(target_profile=qsharp.TargetProfile.from_str(profile))
        if entry is None:
            qir = openqasm.compile(text)
        else:
            qsharp.eval(text)
            qir = qsharp.compile(entry)
    except (qsharp.QSharpError, openqasm.QasmError) as error:
        sys.stderr.buffer.write(str(error).encode())
        sys.exit(NOT_COMPILED)
    sys.stdout.buffer.write(str(qir).encode())


if __name__ == "__main__":
    main()
