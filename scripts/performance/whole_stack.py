"""Whole announces through `serve`, over HTTP and over UDP, beside those on the storage alone."""

import re
import subprocess
import sys

from .bench import bench, bench_tracker
from .servers import COMMAND, Memory, Postgres, Redis
from .side_by_side import microseconds

BACKENDS = {"pg": Postgres, "redis": Redis, "memory": Memory}
PROTOCOLS = ["http", "udp"]


class Tracker:
    """`serve` on a configuration, at free ports; `urls` by protocol."""

    def __init__(self, config):
        self.config = config

    def __enter__(self):
        addresses = ["--http", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--admin", "none"]
        self.process = subprocess.Popen([COMMAND, "serve", "-c", self.config, *addresses], stdout=subprocess.PIPE)
        self.urls = {}
        for line in self.process.stdout:
            found = re.search(rb"(http|udp)://\S+", line)
            if found:
                self.urls[found[1].decode()] = found[0].decode()
            if len(self.urls) == len(PROTOCOLS):
                return self
        self.__exit__()
        raise RuntimeError("the tracker does not serve")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def table(options):
    """Announces a second of each storage, alone and through the tracker."""
    lines = [["storage", "announced by", "a second", "p50", "p99", "of the storage alone"]]
    lines.append(["---", "---", "---:", "---:", "---:", "---:"])
    for name in options.only or BACKENDS:
        with BACKENDS[name]() as server:
            figures = list(measure(name, server, options))
        alone = figures[0][1]["rate"]
        for label, figure in figures:
            latencies = [microseconds(figure[key]) for key in ("p50_us", "p99_us")]
            lines.append([name, label, f"{figure['rate']:,.0f}", *latencies, f"{figure['rate'] / alone:.2f}"])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def measure(name, server, options):
    """Figures by label, the storage alone first."""
    tell(name, "alone")
    yield "calls", bench(server.config(), ["tracker"], options.seconds, options.concurrency, keep=True)["tracker"]
    server.clear()
    for protocol in PROTOCOLS:
        with Tracker(server.config()) as tracker:
            tell(name, protocol)
            yield protocol.upper(), bench_tracker(tracker.urls[protocol], options.seconds, options.concurrency)
        server.clear()


def tell(name, what):
    print(f"whole-stack: {name}, {what}", file=sys.stderr, flush=True)
