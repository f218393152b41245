"""What test_threads.py runs: a child of a process that has used its threads."""

import multiprocessing
import warnings

import numpy as np
import torch
from fits import quick, two_samples


def in_child(connection, transport, X, Y):
    before = torch.get_num_threads()
    maps = [transport.transform(X) for _ in range(5)]
    back = transport.inverse_transform(Y)
    again = quick().fit(X, X_target=Y).transform(X)
    connection.send((maps, back, again, before == torch.get_num_threads()))


def main():
    warnings.filterwarnings("error")
    warnings.filterwarnings("ignore", "The fit returns")  # few steps
    # Of Python 3.12, where a process that has threads forks.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded")
    torch.set_num_threads(2)
    X, Y = two_samples(3_000, 3_000)
    torch.ones(2000, 2000).exp() @ torch.ones(2000, 2)  # the pool has started
    transport = quick().fit(X, X_target=Y)
    wanted = transport.transform(X), transport.inverse_transform(Y)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=in_child, args=(theirs, transport, X, Y))
    child.start()
    try:
        if not ours.poll(60):
            raise SystemExit("the child hangs")
        maps, back, again, same_threads = ours.recv()
    finally:
        child.terminate()
        child.join()
    for mapped in maps:
        np.testing.assert_allclose(mapped, wanted[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(back, wanted[1], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(again, wanted[0], atol=1e-3)
    assert same_threads
    print("alike")


if __name__ == "__main__":
    main()
