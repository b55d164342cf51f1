"""How much memory is free, by the kernel's own files."""

from __future__ import annotations

from pathlib import Path

from podium.memory import free_bytes


def test_the_smaller_of_machine_and_container_counts_and_what_files_take_is_given_back(
    tmp_path: Path,
) -> None:
    machine = tmp_path / "meminfo"
    machine.write_text("MemTotal:  8000 kB\nMemAvailable:   1000 kB\nHugePages_Total:       0\n")
    assert free_bytes(machine, tmp_path) == 1_024_000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("900000\n")
    assert free_bytes(machine, tmp_path) == 1_024_000, "no limit"
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 50000\n")
    assert free_bytes(machine, tmp_path) == 150_000
    assert free_bytes(tmp_path / "none", tmp_path / "none") is None
    assert free_bytes() is None or free_bytes() > 0
