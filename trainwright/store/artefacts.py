"""Where do large files lie, and are they still what was put there? Bytes named by their own sha256:
in a folder, behind any fsspec URL, or in memory."""

import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from trainwright.core.errors import StoreError, shown, system_reason
from trainwright.core.phrases import phrase
from trainwright.store.contract import StoredArtefact

_DIGEST = re.compile(r"[0-9a-f]{64}")
_UNFINISHED = ".unfinished-"  # a file under such a name was never complete


def digest_of(data: bytes) -> str:
    """The name of some bytes: sha256 in hex."""
    return hashlib.sha256(data).hexdigest()


class MemoryArtefacts:
    """Artefacts that end with the process."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[bytes, float]] = {}

    def put(self, data: bytes) -> str:
        digest = digest_of(data)
        self._kept[digest] = (bytes(data), time.time())
        return digest

    def get(self, digest: str) -> bytes:
        if digest not in self._kept:
            raise _missing(digest, "memory")
        return self._kept[digest][0]

    def has(self, digest: str) -> bool:
        return digest in self._kept

    def delete(self, digest: str) -> None:
        self._kept.pop(digest, None)

    def sizes(self) -> dict[str, int]:
        return {digest: len(data) for digest, (data, _) in list(self._kept.items())}

    def stored(self) -> list[StoredArtefact]:
        return [
            StoredArtefact(digest=digest, num_bytes=len(data), modified=modified)
            for digest, (data, modified) in list(self._kept.items())
        ]

    def clear_unfinished(self, *, older_than_seconds: float, dry_run: bool = False) -> int:
        return 0


class FolderArtefacts:
    """Artefacts as files `ab/abcdef…` in a folder, made when the first one is put.

    A file appears under its name only when it is complete and on the disk: written under another
    name, fsync, rename, fsync of the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes) -> str:
        digest = digest_of(data)
        path = self._path(digest)
        try:
            if self._is_there(path, data):
                os.utime(path)  # young again: retention must not take it before its row is saved
            else:
                self._make(path.parent)
                _write_atomically(path, data)
        except OSError as error:
            raise _not_written(error, len(data), self.folder) from error
        return digest

    def get(self, digest: str) -> bytes:
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise _missing(digest, shown(str(self.folder))) from error
        except OSError as error:
            raise _not_read(digest, shown(str(self.folder)), error) from error
        return _checked(digest, data, shown(str(self.folder)))

    def has(self, digest: str) -> bool:
        return os.path.isfile(self._path(digest))

    def delete(self, digest: str) -> None:
        try:
            self._path(digest).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                phrase(
                    "artefact {digest} in {folder} could not be removed",
                    digest=digest[:12],
                    folder=shown(str(self.folder)),
                ),
                allowed=phrase("a folder that may be written"),
                do=phrase("change the folder's permissions"),
            ) from error

    def sizes(self) -> dict[str, int]:
        return {one.digest: one.num_bytes for one in self.stored()}

    def stored(self) -> list[StoredArtefact]:
        found = []
        for entry in self._files():
            if _DIGEST.fullmatch(entry.name):
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue  # another process removed it meanwhile
                found.append(
                    StoredArtefact(
                        digest=entry.name, num_bytes=status.st_size, modified=status.st_mtime
                    )
                )
        return found

    def clear_unfinished(self, *, older_than_seconds: float, dry_run: bool = False) -> int:
        freed = 0
        for entry in self._files():
            if not entry.name.startswith(_UNFINISHED):
                continue
            try:
                status = entry.stat()
                if time.time() - status.st_mtime >= older_than_seconds:
                    freed += status.st_size
                    if not dry_run:
                        os.unlink(entry.path)
            except FileNotFoundError:
                continue
        return freed

    def _files(self) -> Iterator[os.DirEntry[str]]:
        try:
            folders = sorted(entry.path for entry in os.scandir(self.folder) if entry.is_dir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise _not_read("", shown(str(self.folder)), error) from error
        for folder in folders:
            yield from os.scandir(folder)

    def _path(self, digest: str) -> Path:
        return self.folder / _fit(digest)[:2] / digest

    def _is_there(self, path: Path, data: bytes) -> bool:
        """Read and compared, so that putting again mends a damaged file."""
        try:
            return path.stat().st_size == len(data) and path.read_bytes() == data
        except FileNotFoundError:
            return False

    def _make(self, folder: Path) -> None:
        for one in (self.folder, folder):
            if not one.is_dir():
                one.mkdir(parents=True, exist_ok=True)
                _sync_folder(one.parent)


class UrlArtefacts:
    """Artefacts behind an fsspec URL (s3://, gs://, sftp://, memory://, …).

    Object stores show a file only when it is complete; elsewhere `get` finds a half one by its
    hash, and putting again replaces it.
    """

    def __init__(self, url: str) -> None:
        self.url, self.place = url, shown(re.sub(r"//[^/@]*@", "//", url.partition("?")[0]))
        self._opened: tuple[Any, str] | None = None

    def put(self, data: bytes) -> str:
        digest = digest_of(data)
        try:
            self._system.makedirs(self._path(digest).rpartition("/")[0], exist_ok=True)
            # Always written, so that its time is new: see FolderArtefacts.put.
            self._system.pipe_file(self._path(digest), data)
        except Exception as error:
            raise _not_written(error, len(data), self.place) from error
        return digest

    def get(self, digest: str) -> bytes:
        try:
            data = self._system.cat_file(self._path(digest))
        except FileNotFoundError as error:
            raise _missing(digest, self.place) from error
        except Exception as error:
            raise _not_read(digest, self.place, error) from error
        return _checked(digest, data, self.place)

    def has(self, digest: str) -> bool:
        path = self._path(digest)
        try:
            return bool(self._system.isfile(path))
        except Exception as error:
            raise _not_read(digest, self.place, error) from error

    def delete(self, digest: str) -> None:
        path = self._path(digest)
        try:
            self._system.rm_file(path)
        except FileNotFoundError:
            return
        except Exception as error:
            raise _not_read(digest, self.place, error) from error

    def sizes(self) -> dict[str, int]:
        return {one.digest: one.num_bytes for one in self.stored()}

    def stored(self) -> list[StoredArtefact]:
        try:
            self._system.invalidate_cache()
            details = self._system.find(self._root, detail=True)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise _not_read("", self.place, error) from error
        found = ((path.rpartition("/")[2], about) for path, about in details.items())
        return [
            StoredArtefact(
                digest=name, num_bytes=int(about.get("size") or 0), modified=_modified(about)
            )
            for name, about in found
            if _DIGEST.fullmatch(name)
        ]

    def clear_unfinished(self, *, older_than_seconds: float, dry_run: bool = False) -> int:
        return 0  # nothing is written under a passing name

    @property
    def _system(self) -> Any:
        return self._open()[0]

    @property
    def _root(self) -> str:
        return self._open()[1].rstrip("/")

    def _path(self, digest: str) -> str:
        return f"{self._root}/{_fit(digest)[:2]}/{digest}"

    def _open(self) -> tuple[Any, str]:
        if self._opened is None:
            from fsspec.core import url_to_fs

            try:
                system, root = url_to_fs(self.url)
            except Exception as error:  # unknown scheme, missing package, refused login: any type
                raise StoreError(
                    phrase(
                        "the folder of artefacts {place} cannot be opened: {error}",
                        place=self.place,
                        error=shown(str(error)),
                    ),
                    allowed=phrase("a folder, or a URL that fsspec knows and has its package for"),
                    do=phrase(
                        "check the URL; s3:// needs `pip install s3fs`, gs:// `pip install gcsfs`"
                    ),
                ) from error
            self._opened = (system, str(root))
        return self._opened


def _write_atomically(path: Path, data: bytes) -> None:
    unfinished = path.with_name(f"{_UNFINISHED}{os.getpid()}-{secrets.token_hex(6)}")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


_BINARY = getattr(os, "O_BINARY", 0)  # Windows would otherwise change line ends


def _sync_folder(folder: Path) -> None:
    """Put a folder's new names on the disk too; Windows cannot and need not."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _modified(about: dict[str, Any]) -> float | None:
    """The time of last change, under the several names that file systems give it."""
    for key in ("mtime", "modified", "LastModified", "last_modified", "updated", "created"):
        value = about.get(key)
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, datetime):
            return value.timestamp()
    return None


def _fit(digest: str) -> str:
    """A digest is part of a path: nothing but a digest may become one."""
    if not _DIGEST.fullmatch(digest):
        raise StoreError(
            phrase("{digest} does not name an artefact", digest=shown(digest)),
            allowed=phrase("64 digits of a sha256 in hex"),
        )
    return digest


def _checked(digest: str, data: bytes, place: str) -> bytes:
    if digest_of(data) == digest:
        return data
    raise StoreError(
        phrase(
            "artefact {digest} in {place} is damaged: its bytes no longer match its name",
            digest=digest[:12],
            place=place,
        ),
        do=phrase("use an earlier checkpoint, or put back a copy of the file"),
    )


def _missing(digest: str, place: str) -> StoreError:
    return StoreError(
        phrase("artefact {digest} is missing from {place}", digest=digest[:12], place=place),
        do=phrase("use an earlier checkpoint, or put back a copy of the file"),
    )


def _not_read(digest: str, place: str, error: Exception) -> StoreError:
    if isinstance(error, StoreError):
        return error
    reason = shown(system_reason(error))
    return StoreError(
        phrase(
            "artefact {digest} in {place} cannot be reached: {reason}",
            digest=digest[:12],
            place=place,
            reason=reason,
        )
        if digest
        else phrase("artefacts in {place} cannot be reached: {reason}", place=place, reason=reason),
        do=phrase("check that the folder may be read and the service answers"),
    )


def _not_written(error: Exception, num_bytes: int, place: object) -> StoreError:
    where = place if isinstance(place, str) else shown(str(place))
    if isinstance(error, StoreError):
        return error
    if getattr(error, "errno", None) in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return StoreError(
            phrase(
                "the disk is full: {bytes} bytes could not be written to {where}",
                bytes=num_bytes,
                where=where,
            ),
            allowed=phrase("free space for at least one checkpoint"),
            do=phrase("make space, or remove old checkpoints; then `trainwright resume` the run"),
        )
    return StoreError(
        phrase(
            "{bytes} bytes could not be written to {where}: {reason}",
            bytes=num_bytes,
            where=where,
            reason=shown(system_reason(error)),
        ),
        allowed=phrase("a folder that may be written"),
        do=phrase("change its permissions, or name another store with --store"),
    )
