"""The figures of each storage beside the limit taken in the same run, as a table in Markdown."""

import os
import sys
from statistics import median

from .bench import bench
from .pg_limit import PgLimit, without
from .redis_limit import RedisLimit
from .servers import Memory, Postgres, Redis

WORKLOADS = ["put", "announce", "scrape", "lifecycle", "tracker"]
BATCH_KEYS = {
    "put": "peer.add_batch_query",
    "announce": "announce.batch_query",
    "scrape": "peer.count_batch_query",
}
REDIS_CONNECTIONS = 4


class Row:
    """One kind of work: rates of a storage, and of what limits it."""

    def __init__(self, backend, work, limit=""):
        self.backend, self.work, self.limit = backend, work, limit
        self.figures, self.limits = [], []

    def add(self, figure, limit=None):
        self.figures.append(figure)
        if limit:
            self.limits.append(limit)

    def cells(self):
        rate = median(figure["rate"] for figure in self.figures)
        latencies = [median(figure[key] for figure in self.figures) for key in ("p50_us", "p99_us")]
        cells = [self.backend, self.work, f"{rate:,.0f}", *map(microseconds, latencies)]
        if not self.limits:
            return [*cells, "", "", ""]
        ratios = [figure["rate"] / limit for figure, limit in zip(self.figures, self.limits)]
        return [*cells, self.limit, f"{median(self.limits):,.0f}", f"{median(ratios):.2f}"]


def microseconds(us):
    if us < 1:
        return f"{us * 1000:.0f} ns"
    if us < 1000:
        return f"{us:.1f} µs" if us < 10 else f"{us:.0f} µs"
    return f"{us / 1000:.1f} ms" if us < 100_000 else f"{us / 1000:.0f} ms"


def table(options):
    """Runs everything."""
    measured = {"pg": pg, "redis": redis, "memory": memory}
    rows = []
    for name, measure in measured.items():
        if not options.only or name in options.only:
            rows += measure(options)
    header = ["storage", "work", "a second", "p50", "p99", "limit", "a second", "ratio"]
    return markdown(header, [row.cells() for row in rows])


def markdown(header, rows):
    lines = [header, ["---"] * 2 + ["---:"] * 3 + ["---", "---:", "---:"], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def figures_of(server, config, options):
    """Every workload; emptying the server as a whole is quicker than swarm by swarm."""
    figures = bench(config, WORKLOADS, options.seconds, options.concurrency, keep=True)
    server.clear()
    return figures


def tell(text):
    print(text, file=sys.stderr, flush=True)


def pg(options):
    connections = max(4, os.cpu_count() or 1)
    with Postgres() as server:
        limit = PgLimit(server, connections, options.seconds)
        rows = {}
        for run in range(options.runs):
            tell(f"pg (PostgreSQL {server.server()}): run {run + 1} of {options.runs}")
            gathered = figures_of(server, server.config(), options)
            config = server.config(without(server.example, {key.split(".")[1] for key in BATCH_KEYS.values()}))
            plain = figures_of(server, config, options)
            limit.fill()
            for work, label, figure, rate in pg_pairs(options, limit, gathered, plain):
                rows.setdefault((work, label), Row("pg", work, label)).add(figure, rate)
            server.clear()
        return list(rows.values())


def pg_pairs(options, limit, gathered, plain):
    """Each figure with its limit, measured now."""
    single = {
        "put": limit.single("peer.add_query"),
        "announce": limit.announce(),
        "scrape": limit.single("peer.count_query", "downloads.get_query"),
        "lifecycle": limit.lifecycle(),
        "tracker": limit.whole_announce(),
    }
    for work in WORKLOADS:
        keys = list(BATCH_KEYS.values()) if work == "tracker" else [BATCH_KEYS[work]] if work in BATCH_KEYS else []
        for rows in options.batch if keys else []:
            rate = limit.batches(keys, rows, options.in_flight)
            yield work, f"pgbench, batches of {rows}", gathered[work], rate
        yield work, "pgbench, single", gathered[work], single[work]
        if keys:
            yield f"{work}, no batch queries", "pgbench, single", plain[work], single[work]


def idle(options):
    """What the batch queries cost a caller that is alone: its put with and without them, in turn."""
    with Postgres() as server:
        configs = [server.config(), server.config(without(server.example, {"add_batch_query"}))]
        took = [[], []]
        for _ in range(options.runs):
            for place, config in enumerate(configs):
                took[place].append(bench(config, ["put"], options.seconds, concurrency=1)["put"]["p50_us"])
        with_them, without_them = map(median, took)
        ratio = median(one / other for one, other in zip(*took))
        shown = f"{microseconds(with_them)} with the batch query, {microseconds(without_them)} without: {ratio:.2f}"
        return f"\nA put of a single caller on pg takes {shown} times as long.\n"


def redis(options):
    with Redis() as server:
        limit = RedisLimit(server, REDIS_CONNECTIONS, options.seconds, options.pipeline)
        rows = {work: Row("redis", work, f"redis-benchmark -P {options.pipeline}") for work in WORKLOADS}
        for run in range(options.runs):
            tell(f"redis (Redis {server.server()}): run {run + 1} of {options.runs}")
            figures = figures_of(server, server.config(), options)
            limits = {work: limit.rate(work, spread=work == "put") for work in WORKLOADS if work != "lifecycle"}
            for work, row in rows.items():
                row.add(figures[work], limits.get(work))
        return list(rows.values())


def memory(options):
    with Memory() as storage:
        rows = {work: Row("memory", work) for work in WORKLOADS}
        for run in range(options.runs):
            tell(f"memory: run {run + 1} of {options.runs}")
            figures = figures_of(storage, storage.config(), options)
            for work, row in rows.items():
                row.add(figures[work])
        return list(rows.values())
