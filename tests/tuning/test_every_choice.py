"""Every choice that the tuner would try is right, for every op with a choice in the committed package."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusec.commands import tune_worker
from fusec.commands.tune import Subject, find, job
from fusec.commands.tune_shapes import cases
from fusec.driver.tuning.candidates import Outline, candidates
from fusec.runtime import H200

ROOT = Path(__file__).resolve().parents[2]

SHAPES = {
    "bmm": "B=2 M=5 K=48 N=24",
    **dict.fromkeys(
        ("qkv_rope", "qkv_norm_rope", "linear_qkv_rope", "linear_qkv_norm_rope"), "B=2 S=3 K=32 D=16 Hk=1 Hq=2"
    ),
    **dict.fromkeys(("qkv_rope_partial", "qkv_rope_interleaved"), "B=2 S=3 K=32 D=16 R=10 U=6 Hk=1 Hq=2"),
    **dict.fromkeys(("softmax", "layernorm", "rmsnorm_quantize", "gated_activation"), "M=5 N=600"),
}
"""What the interpreter is through with soon; for other ops with products `SHAPE`. Of rows a few stand for all."""

SHAPE = "M=5 K=48 N=24"


def subjects() -> list[Subject]:
    found = find(ROOT / "specs", [])
    return [each for each in found if each.graph.name in SHAPES or "K" in each.choosing.extents]


@pytest.mark.parametrize("subject", subjects(), ids=lambda subject: subject.graph.name)
def test_every_choice_is_right(subject: Subject) -> None:
    shape = SHAPES.get(subject.graph.name, SHAPE)
    options = {variable.name: [each.name for each in variable.options] for variable in subject.graph.variables}
    dtypes = {name: "bf16" for name in subject.choosing.dtypes if "bf16" in options[name]}
    (case,) = cases(subject.graph, subject.choosing, [shape], dtypes, subject.choosing.optional)
    about = job(subject, ROOT / "generated", case)
    answer = tune_worker.do({**about, "do": "outline"}, ROOT)
    assert answer["failure"] is None
    choices = candidates(Outline.of(answer["outline"]), H200, 1)
    with tune_worker.exact():
        found = tune_worker.measure(tune_worker.subject_of(about), choices, lambda _, __: lambda: 1.0, 1)
    assert {str(choices[at]): reason for at, reason in found["refused"].items()} == {}
    assert len(choices) > len(answer["outline"]["plans"])
