"""The comparison with other libraries runs, skips what is missing, and keeps earlier results."""

import json
import re

from benchmarks import cases, compare, environments, gpu


def test_every_program_computes_a_workload_and_every_requirement_is_pinned():
    kinds = {case.kind for case in cases.CASES}
    for program in compare.PROGRAMS:
        assert any(compare.defines(program, kind) for kind in kinds), program
    used = {environments.requirements(program) for program in compare.PROGRAMS} - {None}
    assert used == set(environments.PEERS.glob("*.txt"))
    for path in used:
        for line in path.read_text().splitlines():
            assert re.fullmatch(r"[\w.-]+==[\w.]+", line) or line.startswith("#"), (path, line)


def test_this_library_computes_every_workload():
    assert all(compare.defines(compare.OURS, case.kind) for case in cases.CASES)


def test_programs_run_in_turn_and_missing_libraries_are_skipped(tmp_path, capsys):
    out = tmp_path / "results.json"
    earlier = compare.start(None)
    earlier["cases"]["earlier"] = {}
    out.write_text(json.dumps(earlier))
    compare.main(
        names=("w3",),
        programs=("jax_handwritten", "torch_loop"),
        environments=tmp_path,
        out=out,
        smoke=True,
        install=False,
    )
    record = json.loads(out.read_text())
    assert "not installed" in record["skipped"]["torch_loop"]
    assert set(record["cases"]) == {"earlier", "W3 D-PSGD, ring of 16", "W3 D-PSGD, ring of 64"}
    for name in ("W3 D-PSGD, ring of 16", "W3 D-PSGD, ring of 64"):
        rows = record["cases"][name]
        assert set(rows) == {"jcollab", "jax_handwritten"}
        assert rows["jcollab"]["ratio"] == 1
        assert all(row["seconds"] > 0 for row in rows.values())
    assert "jax_handwritten" in capsys.readouterr().out


def test_shares_of_an_accelerator_are_written_one_by_one(tmp_path, capsys):
    out = tmp_path / "gpu.jsonl"
    gpu.main(names=("w2", "w4 krum"), out=out, smoke=True)
    device, *rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert device["flop"]["float32"] > 0 and device["bytes"] > 0
    executions = [(row["case"][:2], row["dtype"], row["execution"]) for row in rows]
    assert executions == [
        *(("W2", "float32", "vmap"), ("W2", "bfloat16", "vmap")),
        *(("W4", "float32", ""), ("W4", "bfloat16", "")),
        *(("W2", "float32", "chunks of 1"), ("W2", "bfloat16", "chunks of 1")),
    ]
    assert all(row["seconds"] > 0 and row["share of bandwidth"] > 0 for row in rows)
    gpu.main(names=("w2",), out=out, smoke=True, limit=0)
    assert "stopped" in capsys.readouterr().out
