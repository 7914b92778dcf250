"""Two processes with two devices each run the program of one."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from tests import REFERENCE, ROOT

CONTRACT = ROOT / "tests/contract_test.py"
SCRIPT = REFERENCE / "two_processes.py"


def start(process, port, out, *options):
    environment = os.environ | {
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=2",
        "JCOLLAB_TEST_DEVICES": "2",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, str(SCRIPT), str(process), str(port), str(out), *options]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def free_port():
    with socket.socket() as sock:
        sock.bind(("localhost", 0))
        return sock.getsockname()[1]


def compare(tmp_path, *options):
    port = free_port()
    processes = [start(i, port, tmp_path / f"{i}.npz", *options) for i in range(2)]
    outputs = [process.communicate(timeout=1500)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    alone = start(-1, port, tmp_path / "alone.npz", *options)
    assert alone.wait(timeout=1500) == 0, alone.communicate()[0]
    expected = np.load(tmp_path / "alone.npz")
    for i in range(2):
        got = np.load(tmp_path / f"{i}.npz")
        assert set(got) == set(expected) and got
        for name in expected:
            np.testing.assert_allclose(got[name], expected[name], atol=1e-6, err_msg=name)


def test_two_processes_equal_one(tmp_path):
    some = ["D-PSGD sparse", "RelaySGD", "D2", "clipped gossip", "robust server", "centralized"]
    compare(tmp_path, "--names", *some)


@pytest.mark.slow
def test_two_processes_equal_one_with_every_algorithm(tmp_path):
    compare(tmp_path)


@pytest.mark.slow
def test_eight_devices_equal_one():
    command = [sys.executable, "-m", "pytest", "-q", "-k", "devices or pmap", str(CONTRACT)]
    done = subprocess.run(command, env=os.environ | {"JCOLLAB_TEST_DEVICES": "8"}, check=False)
    assert done.returncode == 0


def test_a_missing_process_is_a_clear_error(tmp_path):
    process = start(1, free_port(), tmp_path / "x.npz", "--timeout", "3")
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0 and "waited 3 s for the others" in output, output


def test_numbers_of_processes():
    from jcollab import layout

    with pytest.raises(ValueError, match=r"process_id must be in 0..1, got 2"):
        layout.initialize("localhost:1", 2, 2)
    with pytest.raises(ValueError, match="num_processes must be at least 1, got 0"):
        layout.initialize("localhost:1", 0, 0)
