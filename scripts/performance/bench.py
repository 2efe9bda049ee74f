"""Running `tracker-storage bench`."""

import json
import os
import subprocess

from .servers import COMMAND, run


def bench(config, workloads, seconds, concurrency=64, warmup=1, swarms=None, peers=None, keep=False,
          scattered=False, command=COMMAND):
    """The figures of each workload by its name."""
    arguments = [command, "bench", "-c", config, "--json", "--workload", *workloads]
    arguments += ["--duration", f"{seconds}s", "--warmup", f"{warmup}s", "--concurrency", str(concurrency)]
    if swarms is not None:
        arguments += ["--swarms", str(swarms)]
    if peers is not None:
        arguments += ["--peers", str(peers)]
    if keep:
        arguments += ["--keep"]
    if scattered:
        arguments += ["--scattered"]
    return figures_of(arguments)


def bench_tracker(url, seconds, concurrency=64, warmup=1):
    """The figures of a tracker, whose peers stay there."""
    arguments = [COMMAND, "bench", "--announce-url", url, "--json", "--keep"]
    arguments += ["--duration", f"{seconds}s", "--warmup", f"{warmup}s", "--concurrency", str(concurrency)]
    return figures_of(arguments)["tracker"]


def figures_of(arguments):
    """What `bench` prints, by workload."""
    figures = [json.loads(line) for line in run(arguments).splitlines()]
    for figure in figures:
        if figure["errors"]:
            print(f"{figure['backend']} {figure['workload']}: {figure['errors']} errors", flush=True)
    return {figure["workload"]: figure for figure in figures}


def started(config, workload, seconds, swarms, peers):
    """The same in the background, with one caller, leaving its peers there."""
    arguments = [COMMAND, "bench", "-c", config, "--json", "--keep", "--workload", workload]
    arguments += ["--duration", f"{seconds}s", "--warmup", "0s", "--concurrency", "1"]
    arguments += ["--swarms", str(swarms), "--peers", str(peers)]
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ)
