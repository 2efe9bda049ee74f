"""How rates change with the size of swarms, the size of the table and the number of callers, as CSV."""

import csv
import os
import sys

from .bench import bench
from .servers import Memory, Postgres, Redis

WORKLOADS = ["put", "announce", "scrape"]
COLUMNS = ["value", "backend", "workload", "rate", "p50_us", "p99_us"]
DEFAULT_PEERS = 10_000
BACKENDS = {"pg": Postgres, "redis": Redis, "memory": Memory}


def swarm_size(options):
    """Peers of a swarm, 10,000 peers or one swarm."""
    for peers in powers(10, 100_000):
        yield peers, {"swarms": max(1, DEFAULT_PEERS // peers), "peers": peers}


def table_size(options):
    """Peers of all swarms, 100 in each."""
    for peers in powers(10, options.largest)[4:]:
        yield peers, {"swarms": peers // 100, "peers": 100}


def concurrency(options):
    """Callers, on 100 swarms of 100 peers."""
    for callers in powers(2, 512):
        yield callers, {"concurrency": callers}


AXES = {"swarm-size": swarm_size, "table-size": table_size, "concurrency": concurrency}


def powers(base, most):
    values = [1]
    while values[-1] * base <= most:
        values.append(values[-1] * base)
    return values


def measure(axis, options, folder):
    """Measures every storage along an axis, each on a server of its own, and writes `AXIS.csv`."""
    rows = []
    for name in options.only or BACKENDS:
        for value, shape in AXES[axis](options):
            with BACKENDS[name]() as server:
                print(f"{axis} {value:,}: {name}", file=sys.stderr, flush=True)
                shape = {"concurrency": options.concurrency, **shape}
                figures = bench(server.config(), WORKLOADS, options.seconds, keep=True, **shape)
                for workload, figure in figures.items():
                    rows.append([value, name, workload, *(figure[column] for column in COLUMNS[3:])])
    with open(os.path.join(folder, f"{axis}.csv"), "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def table(axis, folder):
    """Calls a second of `AXIS.csv`, a row a value."""
    with open(os.path.join(folder, f"{axis}.csv"), newline="") as file:
        rates = {(row["value"], row["backend"], row["workload"]): float(row["rate"]) for row in csv.DictReader(file)}
    columns = list(dict.fromkeys((backend, workload) for _, backend, workload in rates))
    lines = [[axis.replace("-", " "), *(f"{backend} {workload}" for backend, workload in columns)]]
    lines.append(["---:"] * len(lines[0]))
    for value in sorted({value for value, _, _ in rates}, key=int):
        found = [rates.get((value, *column)) for column in columns]
        lines.append([f"{int(value):,}", *("" if rate is None else f"{rate:,.0f}" for rate in found)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
