"""PTB-XL from its publisher, each file verified against the publisher's list of SHA-256 sums.

`places` is not used for it: that needs the extra `remote`, holds whole files in memory and follows redirects, and it
tries again only where a place cannot be reached, not where a file has a different sum.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

import urllib3
from urllib3.exceptions import HTTPError

from data_prep.attempts import attempts, is_final
from data_prep.errors import UserError
from data_prep.files import PARTIALS_BELOW, file_sha256, write_whole, written_in_parts
from data_prep.lock import locked
from data_prep.progress import ProgressCallback

PUBLISHER = "https://physionet.org/files/ptb-xl/1.0.3/"
"""Folder of the publisher that holds PTB-XL 1.0.3 (Wagner et al., 2020), under CC BY 4.0."""
CHECKSUMS = "SHA256SUMS.txt"
FOLDERS = {100: "records100", 500: "records500"}
"""Folder of the records by sampling rate, in hertz."""

Rate = Literal["100", "500", "both"]
T = TypeVar("T")

LINE = re.compile(r"([0-9a-f]{64}) [ *]?([A-Za-z0-9_.\-]+(?:/[A-Za-z0-9_.\-]+)*)")
"""Line of the list: a sum, and a path of plain names."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ATTEMPTS = 4
"""Number of attempts to fetch a file."""
TIMEOUT = urllib3.Timeout(connect=10, read=30)
MOST_BYTES = 1 << 26
"""Most bytes of a file, against a server that never stops. PTB-XL's largest file has a tenth."""
CHUNK = 1 << 16
MOST_FAILURES = 20
"""Number of failed files in succession after which the server counts as gone."""
BYTES_OF_DAT = {"records100": 24_000, "records500": 120_000}
"""Size of a file of samples: 12 leads of 10 s in 16 bits."""
BYTES_OF_HEADER = 1_000
BYTES_OF_OTHERS = 10_000_000
BLOCK = 4096
"""Bytes by which a file grows on disk."""


class DownloadError(UserError):
    """A download that failed. The message says why, and how to fix it."""


class FinalAnswerError(DownloadError):
    """An answer that a server would repeat, such as that there is no such file."""


class Listed(NamedTuple):
    """A file of the publisher's list."""

    path: str
    """Path below the publisher's folder, with slashes."""
    sha256: str

    @property
    def n_bytes(self) -> int:
        """Estimate the space that the file takes on disk, since the list has no sizes."""
        folder = self.path.partition("/")[0]
        if folder not in BYTES_OF_DAT:
            return BYTES_OF_OTHERS
        size = BYTES_OF_DAT[folder] if self.path.endswith(".dat") else BYTES_OF_HEADER
        return -(-size // BLOCK) * BLOCK


class Downloaded(NamedTuple):
    """Outcome of a download."""

    n_files: int
    """Number of files that are there and verified."""
    n_fetched: int
    failures: tuple[tuple[str, str], ...]
    """Path and reason of each file that could not be fetched."""


def download(
    folder: Path,
    rate: Rate = "100",
    source: str = PUBLISHER,
    jobs: int = 8,
    progress: ProgressCallback = lambda _done, _total: None,
) -> Downloaded:
    """Fetch PTB-XL into a folder. Files that are there and have the right sum are not fetched again.

    rate: sampling rate of the records that are fetched, in hertz. source: URL of the publisher's folder or of a copy.

    Raises:
        DownloadError: the list cannot be fetched, the disk has too little space, or the server is gone.
        FolderInUseError: another process writes into the folder.
    """
    server = Server(source, jobs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"{folder}: cannot be written: {error.strerror}; choose another folder.") from error
    with locked(folder, PARTIALS_BELOW):
        text = server.fetch_text(CHECKSUMS)
        listed = wanted(read_list(text, server.address(CHECKSUMS)), rate)
        require_space(folder, [each for each in listed if not (folder / each.path).is_file()])
        write_whole(folder / CHECKSUMS, lambda beside: beside.write_text(text, encoding="ascii"))
        return fetch_all(folder, listed, server, jobs, progress)


def fetch_all(
    folder: Path, listed: Sequence[Listed], server: "Server", jobs: int, progress: ProgressCallback
) -> Downloaded:
    """Fetch what is not there, several files at a time. A file that fails does not stop the others."""
    failures: list[tuple[str, str]] = []
    n_fetched = in_succession = 0
    with ThreadPoolExecutor(jobs) as pool:
        running: dict[Future[bool], Listed] = {pool.submit(server.bring, each, folder): each for each in listed}
        try:
            for done, future in enumerate(as_completed(running), 1):
                try:
                    n_fetched += future.result()
                    in_succession = 0
                except DownloadError as error:
                    failures.append((running[future].path, str(error)))
                    in_succession += 1
                    refuse_a_server_that_is_gone(server.source, in_succession, str(error))
                progress(done, len(listed))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Downloaded(len(listed) - len(failures), n_fetched, tuple(sorted(failures)))


def refuse_a_server_that_is_gone(source: str, n_failures: int, reason: str) -> None:
    """Raise DownloadError after too many failures in succession."""
    if n_failures == MOST_FAILURES:
        raise DownloadError(
            f"{source}: the last {MOST_FAILURES} files failed, the last one because {reason}; the same command "
            f"continues where this one stopped."
        )


class Server:
    """The publisher's folder on a server, or a copy of it."""

    def __init__(self, source: str, jobs: int) -> None:
        """Open no connection yet.

        Raises:
            DownloadError: the address is neither HTTPS nor on this machine.
        """
        parts = urlsplit(source)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise DownloadError(f"{source}: is not an https address; http is allowed only on this machine.")
        self.source = source.rstrip("/") + "/"
        proxy = getproxies().get(parts.scheme) if parts.hostname not in LOOPBACK else None
        # attempts are made here, because a connection may also be cut in the middle of a file
        self.pool = (
            urllib3.ProxyManager(proxy, maxsize=jobs, block=True, retries=False, timeout=TIMEOUT)
            if proxy
            else urllib3.PoolManager(maxsize=jobs, block=True, retries=False, timeout=TIMEOUT)
        )

    def address(self, path: str) -> str:
        return self.source + path

    def fetch_text(self, path: str) -> str:
        """Fetch a text of ASCII characters.

        Raises:
            DownloadError: it cannot be fetched.
        """
        try:
            return self.repeated(lambda: b"".join(self.chunks(path)).decode("ascii"))
        except DownloadError as error:
            raise DownloadError(f"{self.address(path)}: {error}; check the address and the connection.") from error

    def bring(self, listed: Listed, folder: Path) -> bool:
        """Ensure that the folder has a file with the right checksum, and return whether it was fetched.

        Raises:
            DownloadError: no attempt gave a file with the right sum.
        """
        path = folder / listed.path
        if path.is_file() and file_sha256(path) == listed.sha256:
            return False
        self.repeated(lambda: self.fetch(listed, path))
        return True

    def fetch(self, listed: Listed, path: Path) -> None:
        """Fetch a file, which replaces `path` only if its sum is right."""
        digest = hashlib.sha256()
        with written_in_parts(path, DownloadError) as beside:
            with beside.open("wb") as file:
                for chunk in self.chunks(listed.path):
                    digest.update(chunk)
                    file.write(chunk)
            same = digest.hexdigest() == listed.sha256
            require(same, "what the server sent has a different SHA-256 from the publisher's list")

    def chunks(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of a file.

        Raises:
            DownloadError: the server answers with an error, or sends too much.
            HTTPError: the connection fails or is cut.
        """
        response = self.pool.request("GET", self.address(path), preload_content=False, redirect=False)
        n_bytes = 0
        try:
            require_success(response)
            for chunk in response.stream(CHUNK):
                n_bytes += len(chunk)
                require(n_bytes <= MOST_BYTES, f"the server sent more than {MOST_BYTES >> 20} MiB")
                yield chunk
        except BaseException:
            response.close()  # what was left unread would be taken for the next answer
            raise
        finally:
            response.release_conn()

    def repeated(self, attempt: Callable[[], T]) -> T:
        """Return the result of the attempt, retrying after a pause if it fails.

        Raises:
            DownloadError: all attempts failed, or one had a final answer. The message has the last reason.
        """
        for _ in attempts(ATTEMPTS):
            try:
                return attempt()
            except FinalAnswerError:
                raise
            except DownloadError as error:
                reason = str(error)
            except HTTPError as error:
                reason = f"the connection failed ({type(error).__name__})"
            except UnicodeDecodeError:
                reason = "it is not a list of sums"
        raise DownloadError(f"{reason}, {ATTEMPTS} times")


def require(condition: bool, reason: str) -> None:
    """Raise DownloadError with this reason unless the condition holds."""
    if not condition:
        raise DownloadError(reason)


def require_success(response: urllib3.BaseHTTPResponse) -> None:
    """Raise DownloadError unless the server sends the file, and FinalAnswerError if it would not do so later either."""
    if response.status != 200:
        error = FinalAnswerError if is_final(response.status) else DownloadError
        raise error(f"the server answered {response.status} {response.reason or ''}".rstrip())


def read_list(text: str, source: str) -> list[Listed]:
    """Read the list of sums.

    Raises:
        DownloadError: a line is not a checksum with a path inside the folder, or the list is empty.
    """
    listed = []
    for number, line in enumerate(text.splitlines(), 1):
        match = LINE.fullmatch(line.strip())
        if match is None or ".." in match[2].split("/"):
            raise DownloadError(
                f"{source}, line {number}: should be a SHA-256 sum and a path inside the folder; this is not a list "
                f"from PTB-XL's publisher."
            )
        listed.append(Listed(match[2], match[1]))
    if not listed:
        raise DownloadError(f"{source}: lists no file.")
    return listed


def wanted(listed: Sequence[Listed], rate: Rate) -> list[Listed]:
    """Return the files to fetch: all but the records of the other sampling rate, tables first."""
    left_out = {folder for fs, folder in FOLDERS.items() if rate not in (str(fs), "both")}
    kept = [each for each in listed if each.path.partition("/")[0] not in left_out and each.path != CHECKSUMS]
    return sorted(kept, key=lambda each: (each.path.partition("/")[0] in FOLDERS.values(), each.path))


def require_space(folder: Path, missing: Sequence[Listed]) -> None:
    """Raise DownloadError where the disk has too little space for what is missing."""
    needed, free = sum(each.n_bytes for each in missing), shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f"{folder}: {len(missing)} files of about {needed / 1e9:.2f} GB are to be fetched, but {free / 1e9:.2f} GB "
            f"are free; free some space, choose another folder, or fetch only one sampling rate."
        )
