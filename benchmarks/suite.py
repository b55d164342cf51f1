"""Run benches one after the other, and report what each measured: ``make bench``, ``make bench-quick``.

    python benchmarks/suite.py bench-score bench-lifecycle ...

A bench that fails stops no other. The exit code is 1 if one failed or missed a goal of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import report
from results import QUICK
from rich.console import Console

from podium.settings import PROJECT_ROOT

# Where the caller names no size: the suite has half an hour.
LEDGER_EVENTS = "20000" if QUICK else "100000"

console = Console(width=120)


def main(targets: list[str]) -> None:
    """Run all, say how long each took, and write the report."""
    begun, failed = time.monotonic(), []
    for target in targets:
        console.rule(target)
        started = time.monotonic()
        environment = {**os.environ, "SIZE": os.environ.get("SIZE") or LEDGER_EVENTS}
        done = subprocess.run(["make", target], cwd=PROJECT_ROOT, env=environment, check=False)
        failed += [target] if done.returncode else []
        console.print(f"{target}: {time.monotonic() - started:.0f} s, exit code {done.returncode}")
    report.main([])
    console.print(f"{len(targets)} benches in {(time.monotonic() - begun) / 60:.1f} minutes")
    if failed:
        raise SystemExit(f"failed, or missed a goal: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
