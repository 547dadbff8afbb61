"""What a process holds is put on huge pages, and nothing else is touched."""

import ctypes
import mmap
import re
from pathlib import Path

import pytest

from exchange import huge_pages
from exchange.huge_pages import full_pages, gather, is_allowed, whole_pages

MIB = 1 << 20
needs_pages = pytest.mark.skipif(
    not (is_allowed() and full_pages()), reason="no huge pages, or nobody says what is in memory"
)
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


def test_nothing_is_asked_where_it_has_been_forbidden_or_there_are_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    setting = tmp_path / "enabled"
    monkeypatch.setattr(huge_pages, "_SETTING", setting)
    assert not is_allowed()
    setting.write_text("always madvise [never]\n")
    assert not is_allowed()
    setting.write_text("always [madvise] never\n")
    assert is_allowed()
    monkeypatch.setattr(huge_pages, "_PAGES", tmp_path / "absent")
    assert full_pages() == []


def huge_kib() -> int:
    found = re.search(r"AnonHugePages: +(\d+) kB", Path("/proc/self/smaps_rollup").read_text())
    return int(found[1]) if found else 0


def held_at(held: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(held))


@needs_pages
def test_what_is_there_is_put_on_huge_pages_as_it_was() -> None:
    held = mmap.mmap(-1, 16 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held.madvise(mmap.MADV_NOHUGEPAGE)
    held[:] = bytes(range(256)) * (16 * MIB // 256)
    before, low = huge_kib(), held_at(held)
    held.madvise(mmap.MADV_HUGEPAGE)  # permits it; what is there stays where it is
    mine = [at for at in full_pages() if low <= at < low + 16 * MIB]
    assert len(mine) >= 7
    gathered = [gather(at) for at in mine]
    if not any(gathered):
        pytest.skip("this kernel has none, or none that can be asked for")
    assert huge_kib() - before >= 12 * 1024
    assert held[:] == bytes(range(256)) * (16 * MIB // 256)


@needs_pages
def test_what_is_hardly_there_is_left_alone() -> None:
    """A stack of which a page was used would be taken whole."""
    held = mmap.mmap(-1, 16 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held.madvise(mmap.MADV_NOHUGEPAGE)
    held[::MIB] = b"x" * 16
    low = held_at(held)
    assert not [at for at in full_pages() if low <= at < low + 16 * MIB]
