"""Kernels that are compiled side by side, for a card that need not be there."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

# In a process of its own: afterwards it can run no kernel, and the interpreter compiles nothing.
PROGRAM = """
import json
import torch
import triton
import triton.language as tl
from triton.runtime import driver
from triton.runtime.jit import JITFunction
from gemwire_kernels.gpu.compiling import compile_together
from gemwire_kernels.gpu.offline import _Target


@triton.jit
def good(out, N: tl.constexpr):
    tl.store(out + tl.program_id(0), N)


@triton.jit
def bad(out, N: tl.constexpr):
    tl.static_assert(N < 0, "a kernel that does not compile")


driver.set_active(_Target(90))
out, run = torch.empty(8, device="meta"), JITFunction.run
compile_together([lambda n=n: good[(1,)](out, N=n) for n in range(1, 6)] + [lambda: bad[(1,)](out, N=1)])
restored = JITFunction.run is run
compiled = [type(kernel).__name__ for kernel in good.device_caches[0][0].values()]
try:
    again = bad.warmup(out, N=1, grid=(1,))
    again.result()  # as a launch asks for it
    failed = ""
except Exception as error:
    failed = str(error)
print(json.dumps({"restored": restored, "compiled": compiled, "failed": failed}))
"""


def test_each_kernel_is_compiled_and_one_that_cannot_be_fails_where_it_is_launched(
    tmp_path: Path,
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)  # Triton reads a kernel's source from its file
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")],
        env={
            **{name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"},
            "TRITON_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONPATH": str(ROOT / "kernels"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["restored"] and said["compiled"] == ["CompiledKernel"] * 5
    assert "a kernel that does not compile" in said["failed"]
