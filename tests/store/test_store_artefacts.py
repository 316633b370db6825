"""Bytes are there wholly or not at all, and what was damaged is never handed out."""

import errno
import hashlib
import os
import subprocess
import time
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwright.core.errors import StoreError
from trainwright.store.artefacts import FolderArtefacts, MemoryArtefacts, UrlArtefacts


@pytest.fixture(params=["memory", "folder", "url"])
def artefacts(request, tmp_path):
    match request.param:
        case "memory":
            return MemoryArtefacts()
        case "folder":
            return FolderArtefacts(tmp_path / "deep" / "files")
        case _:
            return UrlArtefacts(f"memory://{uuid.uuid4().hex}/files")


def files(folder) -> list[str]:
    return sorted(name for _, _, names in os.walk(folder) for name in names)


def fail(number: int):
    def failing(*_, **__):
        raise OSError(number, os.strerror(number))

    return failing


def test_what_is_put_is_got_and_told_of(artefacts):
    assert artefacts.sizes() == {}
    datas = [b"", b"weights", bytes(range(256)) * 5000]
    digests = [artefacts.put(data) for data in datas]
    assert digests == [hashlib.sha256(data).hexdigest() for data in datas]
    assert [artefacts.get(digest) for digest in digests] == datas
    assert artefacts.sizes() == {d: len(data) for d, data in zip(digests, datas, strict=True)}
    for one in artefacts.stored():
        assert one.modified == pytest.approx(time.time(), abs=60)
    assert all(artefacts.has(digest) for digest in digests)
    artefacts.delete(digests[1])
    artefacts.delete(digests[1])
    assert not artefacts.has(digests[1])
    with pytest.raises(StoreError, match="missing"):
        artefacts.get(digests[1])
    assert artefacts.clear_unfinished(older_than_seconds=0) == 0


@settings(deadline=None)
@given(data=st.binary(max_size=2000))
def test_any_bytes_come_back(tmp_path_factory, data):
    kept = FolderArtefacts(tmp_path_factory.getbasetemp() / "any")
    assert kept.get(kept.put(data)) == data


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a" * 63, "A" * 64, "é" * 64, "/" * 64])
@pytest.mark.parametrize("method", ["get", "has", "delete"])
def test_only_a_digest_is_looked_for(tmp_path, name, method):
    with pytest.raises(StoreError, match="does not name an artefact"):
        getattr(FolderArtefacts(tmp_path), method)(name)
    with pytest.raises(StoreError, match="does not name an artefact"):
        getattr(UrlArtefacts(f"memory://{uuid.uuid4().hex}"), method)(name)


@pytest.mark.parametrize("damage", [b"", b"weighty", b"weights and more"])
def test_a_damaged_file_is_not_handed_out_and_is_mended_by_putting_again(tmp_path, damage):
    kept = FolderArtefacts(tmp_path)
    digest = kept.put(b"weights")
    (tmp_path / digest[:2] / digest).write_bytes(damage)
    with pytest.raises(StoreError, match="damaged") as error:
        kept.get(digest)
    assert "earlier checkpoint" in error.value.do
    assert kept.put(b"weights") == digest
    assert kept.get(digest) == b"weights"


def test_damage_behind_a_url_is_found_too():
    import fsspec

    url = f"memory://{uuid.uuid4().hex}"
    kept = UrlArtefacts(url)
    digest = kept.put(b"weights")
    fsspec.filesystem("memory").pipe_file(f"{url}/{digest[:2]}/{digest}", b"weight")
    with pytest.raises(StoreError, match="damaged"):
        kept.get(digest)
    assert kept.get(kept.put(b"weights")) == b"weights"


@pytest.mark.parametrize("broken", ["write", "fsync"])
def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path, monkeypatch, broken):
    kept = FolderArtefacts(tmp_path)
    before = kept.put(b"the checkpoint before")
    with monkeypatch.context() as patch:
        patch.setattr(os, broken, fail(errno.ENOSPC))
        with pytest.raises(StoreError, match="disk is full") as error:
            kept.put(b"weights")
        assert "resume" in error.value.do
    assert files(tmp_path) == [before]
    assert kept.get(before) == b"the checkpoint before"
    assert kept.get(kept.put(b"weights")) == b"weights"


def test_a_disk_that_fills_up_in_the_middle_of_a_file_leaves_no_half_file(tmp_path, monkeypatch):
    kept, write = FolderArtefacts(tmp_path), os.write
    room = [10]

    def write_a_little(handle, data):
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= 5
        return write(handle, bytes(data[:5]))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_a_little)
        with pytest.raises(StoreError, match="disk is full"):
            kept.put(b"weights of some length")
    assert files(tmp_path) == []


def test_short_writes_are_continued(tmp_path, monkeypatch):
    kept, write = FolderArtefacts(tmp_path), os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data[:3])))
    assert kept.get(kept.put(b"weights")) == b"weights"


def test_the_order_is_write_sync_rename_sync_folder(tmp_path, monkeypatch):
    kept, order = FolderArtefacts(tmp_path), []
    (tmp_path / hashlib.sha256(b"weights").hexdigest()[:2]).mkdir()
    for name in ("write", "fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, name=name, real=real: (order.append(name), real(*a))[1]
        )
    kept.put(b"weights")
    assert order == ["write", "fsync", "replace", "fsync"]


def test_a_real_full_disk_is_said_and_what_was_there_stays(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "none", tmp_path],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        kept = FolderArtefacts(tmp_path / "files")
        before = kept.put(b"a" * 50_000)
        with pytest.raises(StoreError, match="disk is full"):
            kept.put(b"b" * 500_000)
        assert files(tmp_path) == [before]
        assert kept.get(before) == b"a" * 50_000
        kept.delete(before)
        assert kept.get(kept.put(b"c" * 50_000)) == b"c" * 50_000
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_what_a_killed_writer_left_is_cleared_when_it_is_old(tmp_path):
    kept = FolderArtefacts(tmp_path)
    digest = kept.put(b"weights")
    left = tmp_path / digest[:2] / ".unfinished-123-abc"
    left.write_bytes(b"wei")
    assert kept.sizes() == {digest: 7}
    assert kept.clear_unfinished(older_than_seconds=60) == 0
    assert kept.clear_unfinished(older_than_seconds=0, dry_run=True) == 3
    assert left.exists()
    assert kept.clear_unfinished(older_than_seconds=0) == 3
    assert files(tmp_path) == [digest]


def test_putting_again_makes_young_again(tmp_path):
    kept = FolderArtefacts(tmp_path)
    digest = kept.put(b"weights")
    os.utime(tmp_path / digest[:2] / digest, (1, 1))
    kept.put(b"weights")
    assert kept.stored()[0].modified == pytest.approx(time.time(), abs=60)


def test_a_folder_that_is_a_file_is_said(tmp_path):
    (tmp_path / "files").write_text("")
    with pytest.raises(StoreError, match="could not be written"):
        FolderArtefacts(tmp_path / "files").put(b"weights")


@pytest.mark.parametrize("url", ["nothing-known://x", "s4://bucket"])
def test_an_unknown_scheme_is_said_without_a_traceback_of_others(url):
    for act in (lambda a: a.put(b"x"), lambda a: a.stored(), lambda a: a.get("0" * 64)):
        with pytest.raises(StoreError, match="cannot be opened"):
            act(UrlArtefacts(url))


def test_a_password_in_a_url_is_not_shown():
    with pytest.raises(StoreError) as error:
        UrlArtefacts("nothing-known://me:secret@host/x?key=secret").put(b"x")
    assert "secret" not in str(error.value)
