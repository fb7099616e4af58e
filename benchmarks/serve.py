"""Send many concurrent requests, each with a 12-lead record, to a running `ecgmtl serve`.

    python benchmarks/serve.py [--requests 1000] [--at-once 16] [--cards]

The program prints the durations of the requests, the number of lost requests, and the memory of the service over time.
"""

import argparse
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from data_prep.synthetic.folder import LEADS
from data_prep.synthetic.waveform import synthesize
from data_prep.wfdb_writer import write_record

MARK = b"a-mark-that-no-file-holds"


@contextmanager
def service(folder: Path) -> Iterator[tuple[psutil.Process, int]]:
    """Start the service and yield its process and port."""
    command = [sys.executable, "-m", "ecgmtl", "serve", "--port", "0"]
    environment = os.environ | {"TMPDIR": str(folder)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        yield psutil.Process(process.pid), int(address.rstrip("/").rpartition(":")[2])
        process.terminate()
        print(f"exit code after SIGTERM: {process.wait(30)}")


def body_of(folder: Path) -> bytes:
    """Return the body of a request with a synthetic record of 10 s at 500 Hz."""
    write_record(folder / "r", synthesize(["NORM", "SR"], 500, 10.0, np.random.default_rng(0)), 500, LEADS)
    parts = [
        b'--%b\r\nContent-Disposition: form-data; name="files"; filename="%b"\r\n\r\n%b\r\n'
        % (MARK, name.encode(), (folder / name).read_bytes())
        for name in ("r.hea", "r.dat")
    ]
    return b"".join(parts) + b"--%b--\r\n" % MARK


def send(port: int, path: str, body: bytes) -> tuple[float, bool]:
    """Send one request. Return its duration in seconds, and whether the record was predicted."""
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={MARK.decode()}"})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return time.perf_counter() - start, response.status == 200 and b'"status":"ok"' in text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000, help="number of requests")
    parser.add_argument("--at-once", type=int, default=16, help="number of concurrent requests")
    parser.add_argument(
        "--cards", action="store_true", help="request the cards of the web page, with their explanations"
    )
    arguments = parser.parse_args()
    path = "/api/cards" if arguments.cards else "/api/predict"
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as uploads:
        body = body_of(Path(scratch))
        with service(Path(uploads)) as (process, port), ThreadPoolExecutor(arguments.at_once) as pool:
            alone = sorted(send(port, path, body)[0] for _ in range(20))
            before, start = process.memory_info().rss, time.perf_counter()
            results = []
            for number, result in enumerate(pool.map(lambda _: send(port, path, body), range(arguments.requests)), 1):
                results.append(result)
                if number == arguments.requests // 2:
                    middle = process.memory_info().rss
            seconds, after = time.perf_counter() - start, process.memory_info().rss
        left = list(Path(uploads).iterdir())
    times = np.array([result[0] for result in results]) * 1000
    n_ok, rate = sum(ok for _, ok in results), arguments.requests / seconds
    print(f"{path}: {n_ok} of {arguments.requests} requests answered, {rate:.1f} per second")
    print(
        f"one at a time: median {1000 * alone[10]:.0f} ms; {arguments.at_once} at once: "
        f"median {np.percentile(times, 50):.0f} ms, "
        f"99th percentile {np.percentile(times, 99):.0f} ms, longest {times.max():.0f} ms"
    )
    print(f"memory: {before / 1e6:.0f} MB before, {middle / 1e6:.0f} MB halfway, {after / 1e6:.0f} MB at the end")
    print(f"temporary files left: {len(left)}; load average of the machine: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
