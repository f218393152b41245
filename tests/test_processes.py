"""Training in two processes of Hugging Face Accelerate, on the CPU."""

import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("accelerate")

from accelerate import Accelerator  # noqa: E402
from together import BATCH, AcceleratedNet, sample, transport  # noqa: E402

from sk_ncf.metrics import l2_uvp  # noqa: E402

pytestmark = pytest.mark.slow  # three processes, each of which imports all

RUN = "import pathlib, sys, together; together.main(pathlib.Path(sys.argv[1]))"


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


# Of skorch, on a net that leaves the device to its accelerator.
alone = pytest.mark.filterwarnings("ignore::skorch.exceptions.DeviceWarning")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes found that trained together, and their pickles."""
    folder = tmp_path_factory.mktemp("two")
    common = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, folder],
            cwd=Path(__file__).parent,
            env={**common, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        errors = [process.communicate(timeout=240)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], errors
    found = [json.loads((folder / f"{rank}.json").read_text()) for rank in "01"]
    return found, [(folder / f"{rank}.pickle").read_bytes() for rank in "01"]


def test_processes_see_other_rows_and_agree_on_the_map(two):
    one, other = two[0]
    assert one["n_processes"] == other["n_processes"] == 2
    assert one["first"] != other["first"]
    assert one["best"] == other["best"] > 0
    assert one["map"] == other["map"]
    assert one["stream"] == other["stream"]


@alone
def test_two_processes_find_the_map_of_one_with_twice_the_batch(two):
    rows = sample()
    fresh, truth = rows.sample_pairs(1000, random_state=1)
    alone = [
        transport(2 * BATCH, seed).fit(rows.X, X_target=rows.X_target).transform(fresh)
        for seed in (0, 1)
    ]
    together = pickle.loads(two[1][0]).transform(fresh)
    noise = l2_uvp(alone[1], alone[0])
    assert l2_uvp(together, alone[0]) < 3 * noise
    errors = [l2_uvp(mapped, truth) for mapped in (*alone, together)]
    assert errors[2] < 1.5 * max(errors[:2])


def test_a_pass_over_a_stream_is_shared_by_the_processes(two):
    """Seven eighths of 256 rows are trained on, in minibatches of 2 x 32."""
    assert [found["stream_steps"] for found in two[0]] == [4, 4]


@alone
def test_what_processes_have_fitted_is_read_by_one_that_is_alone(two):
    for found, pickled in zip(*two, strict=True):
        fitted = pickle.loads(pickled)
        np.testing.assert_array_equal(fitted.transform(sample().X), found["map"])


def test_settings_that_would_train_wrongly_are_refused(two):
    for found in two[0]:
        seed, accumulation = found["refused"]
        assert seed.startswith("random_state must be the same integer")
        assert "gradient_accumulation_steps=1, got 2" in accumulation


def test_an_accelerator_of_one_process_changes_nothing():
    rows = sample()
    net = AcceleratedNet(accelerator=Accelerator(cpu=True))
    maps = [
        transport(BATCH, skorch_net=net, max_iter=20)
        .fit(rows.X, X_target=rows.X_target)
        .transform(rows.X)
        for net in (net, None)
    ]
    np.testing.assert_array_equal(*maps)
