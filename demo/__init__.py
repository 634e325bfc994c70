"""The demonstrations; see __main__ and cluster."""

import multiprocessing
import signal

if multiprocessing.current_process().name != "MainProcess":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # this is one of Dask's workers: Ctrl-C is for its driver
