"""What is added to a dot is added to its sum, once: seen in Triton's IR, which is made here without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SPEC = """
op f(x: T[M, K], w: T[N, K], r: f32[M, N]) -> y: f32[M, N]
where T in {bf16, f32}:
    y = dot(x, w, over=K) + r
"""


def test_a_sum_of_one_step_does_not_begin_with_what_is_added_to_it() -> None:
    """Triton turns `dot(a, b, 0) + c` into `dot(a, b, c)`, which rounds c once for every product, or cuts it off."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    worker = [sys.executable, str(Path(__file__).with_name("ttir_worker.py"))]
    jobs = json.dumps([{"look": "additions", "spec": SPEC}])
    answer = subprocess.run(worker, input=jobs, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    (found,) = json.loads(answer.stdout)
    assert {tuple(name.split()[:2]) for name in found} == {("_f_gemm", "plain"), ("_f_gemm", "swapped")}
    assert set(found.values()) == {1}
