import subprocess
import sys
from pathlib import Path

import pytest

from ecgmtl.device import is_out_of_memory

ROOT = Path(__file__).parents[1]
SCRIPT = """
import resource
from pathlib import Path
import torch
from ecgmtl.device import spare_address_space

def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() / 1e6

resource.setrlimit(resource.RLIMIT_AS, (int(1e6 * megabytes() + 1e9),) * 2)
spare_address_space()
torch.empty(3_000_000)  # 12 MB: freed, it would raise the size from which on a block has pages of its own
kept, before = [], megabytes()
for _ in range(20):
    blocks = [torch.empty(2_000_000) for _ in range(10)]
    kept.append(torch.empty(1000))
    del blocks
print(megabytes() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a limit of address space needs Linux")
def test_address_space_that_was_freed_is_given_back_where_it_is_limited():
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 10


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes", True),
        ("could not create a primitive", True),
        ("could not create a primitive descriptor for the matmul primitive", False),
        ("shapes do not match", False),
    ],
)
def test_lack_of_memory_is_told_from_other_errors(message, expected):
    assert is_out_of_memory(RuntimeError(message)) == expected
