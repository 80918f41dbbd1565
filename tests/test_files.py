"""Files are written whole or not at all, whatever stands at their place."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from vfctl.errors import InputError
from vfctl.files import check_writable, is_special, replace_file, replacing


@pytest.mark.parametrize("name", ["n" * 255, "n" * 251 + ".csv", "n" + ".s" * 126, "." + "s" * 252, "ä" * 126])
def test_a_long_name_is_written_if_the_file_system_takes_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    check_writable(path, overwrite=False)
    replace_file(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_is_too_long_is_found_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="File name too long"):
        check_writable(tmp_path / ("n" * 256), overwrite=True)


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_target_is_written(tmp_path: Path, exists: bool) -> None:
    """/dev/stdout is such a link where stdout is a file."""
    link, target = tmp_path / "link", tmp_path / "elsewhere" / "target"
    target.parent.mkdir()
    link.symlink_to(target)
    if exists:
        target.write_text("before")
    check_writable(link, overwrite=True)
    replace_file(link, b"whole")
    assert link.is_symlink()
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


def test_a_link_to_nowhere_and_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "astray").symlink_to(tmp_path / "nowhere" / "target")
    with pytest.raises(InputError, match=r"cannot write .*astray: there is no directory .*nowhere"):
        check_writable(tmp_path / "astray", overwrite=True)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match="Too many levels of symbolic links"):
        check_writable(tmp_path / "loop", overwrite=True)


def test_an_existing_file_is_replaced_only_on_request(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("before")
    with pytest.raises(InputError, match="already exists") as caught:
        check_writable(path, overwrite=False)
    assert "--overwrite" in (caught.value.hint or "")
    check_writable(path, overwrite=True)
    assert path.read_text() == "before"


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is a directory"):
        check_writable(tmp_path, overwrite=True)
    with pytest.raises(InputError, match="there is no directory"):
        check_writable(tmp_path / "missing" / "out", overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Not a directory"):
        check_writable(tmp_path / "file" / "out", overwrite=True)
    with pytest.raises(InputError, match="null"):
        check_writable(tmp_path / "a\0b", overwrite=True)


def interrupt_after(written: int) -> None:
    raise KeyboardInterrupt


def test_nothing_remains_of_work_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), replacing(path, overwrite=True) as draft:
        interrupt_after(draft.write_text("half"))
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_operating_system_names_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"cannot write .*out: No space left on device"),
        replacing(tmp_path / "out", overwrite=True),
    ):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_file_that_appears_during_the_work_stays(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(InputError, match="already exists"), replacing(path, overwrite=False) as draft:
        path.write_text("theirs" if draft.write_text("mine") else "")
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_two_drafts_of_one_process_do_not_meet(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.csv", overwrite=False) as a, replacing(tmp_path / "b.csv", overwrite=False) as b:
        assert a.suffix == b.suffix == ".csv", "formats are chosen by the suffix"
        a.write_text("a")
        b.write_text("b")
    assert (tmp_path / "a.csv").read_text() + (tmp_path / "b.csv").read_text() == "ab"


def test_permissions_are_the_usual_ones_or_those_of_the_replaced_file(tmp_path: Path) -> None:
    usual, private = tmp_path / "usual", tmp_path / "private"
    previous = os.umask(0o022)
    try:
        replace_file(usual, b"")
        private.touch(mode=0o600)
        replace_file(private, b"")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(usual.stat().st_mode) == 0o644
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_a_named_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert is_special(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    replace_file(pipe, b"whole")
    reader.join()
    assert received == [b"whole"]
    assert is_special(pipe)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_a_device_without_room() -> None:
    with pytest.raises(InputError, match="cannot write /dev/full: No space left on device"):
        replace_file(Path("/dev/full"), b"x")
