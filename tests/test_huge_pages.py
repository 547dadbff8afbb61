"""What a process holds is put on huge pages, and nothing else is touched."""

import mmap
import re
from pathlib import Path

import pytest

from exchange import huge_pages
from exchange.huge_pages import gather, whole_pages

MIB = 1 << 20
MAPS = """\
00400000-00c00000 r-xp 00000000 fe:00 1234                               /usr/bin/python3
01000000-01500000 rw-p 00000000 00:00 0                                  [heap]
7f0000100000-7f0000700000 rw-p 00000000 00:00 0 
7f0001000000-7f0001400000 rw-s 00000000 00:01 99                         /dev/shm/one
7f0002000000-7f0002400000 rw-p 00000000 fe:00 1235                       /usr/lib/libc.so.6
7f0003000000-7f0003400000 ---p 00000000 00:00 0 
7f0004000000-7f0004100000 rw-p 00000000 00:00 0 
7ffc00000000-7ffc00400000 rw-p 00000000 00:00 0                          [stack]
"""  # noqa: W291 - as the kernel writes it


def test_whole_pages_of_what_is_private_and_written() -> None:
    assert [hex(at) for at in whole_pages(MAPS)] == [
        "0x1000000",
        "0x1200000",
        "0x7f0000200000",
        "0x7f0000400000",
    ]


def test_nothing_is_asked_where_it_has_been_forbidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    setting = tmp_path / "enabled"
    setting.write_text("always madvise [never]\n")
    monkeypatch.setattr(huge_pages, "_SETTING", setting)
    assert gather() == 0


def test_nothing_is_asked_where_there_are_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huge_pages, "_SETTING", tmp_path / "absent")
    assert gather() == 0
    monkeypatch.setattr(huge_pages, "_MAPS", tmp_path / "absent")
    assert gather() == 0


def huge_kib() -> int:
    found = re.search(r"AnonHugePages: +(\d+) kB", Path("/proc/self/smaps_rollup").read_text())
    return int(found[1]) if found else 0


def test_what_is_there_is_put_on_huge_pages_as_it_was() -> None:
    with mmap.mmap(-1, 16 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.madvise(mmap.MADV_NOHUGEPAGE)
        held[:] = bytes(range(256)) * (16 * MIB // 256)
        before = huge_kib()
        held.madvise(mmap.MADV_HUGEPAGE)  # permits it; what is there stays where it is
        if not gather():
            pytest.skip("this kernel has none, or none that can be asked for")
        assert huge_kib() - before >= 12 * 1024
        assert held[:] == bytes(range(256)) * (16 * MIB // 256)
