"""The recommended tables and queries beside those of MoChi's documentation, on servers alike."""

import os
import sys
import time
from statistics import median

from .bench import bench
from .pg_limit import statements
from .servers import REPOSITORY, Postgres

DATA = os.path.join(REPOSITORY, "conformance-tests", "data")
WORKLOADS = ["put", "announce", "scrape", "lifecycle", "tracker"]
PEERS = 100_000
# Two hours' worth.
REANNOUNCES = 4
# One of so many peers is stale.
STALE = 20
# As storage-pg does it.
PIECE = 10_000

FILL = r"""
INSERT INTO mo_peers (info_hash, peer_id, address, port, is_seeder, is_v6, created)
SELECT int8send(n / 100) || '\x746573742d737761726d2d2d'::bytea,
  '\x2d5452343034302d'::bytea || int8send(hashint8extended(n, 0)) || '\x2d2d2d2d'::bytea,
  CASE WHEN n / 2 % 2 = 0 THEN '10.0.0.0'::inet ELSE 'fd00::'::inet END + n, 6881, n % 2 = 0, n / 2 % 2 = 1,
  now() - CASE WHEN random() * {stale} < 1 THEN interval '1 hour' ELSE interval '1 minute' END
FROM generate_series({first}, {last}) AS n
"""
FILL_AT_A_TIME = 1_000_000


def servers():
    seed = {"tables": text("seed.sql"), "example": text("seed.yaml")}
    return {"recommended": Postgres(), "MoChi's documentation": Postgres(**seed)}


def text(name):
    with open(os.path.join(DATA, name)) as file:
        return file.read()


def table(options):
    """A row for each figure, a column for each set of tables."""
    columns = {}
    for name, server in servers().items():
        for scattered in (False, True):
            column = name if not scattered else f"{name}, scattered"
            print(f"tables: {column}", file=sys.stderr, flush=True)
            with server:
                columns[column] = rates(server, options, scattered) | sizes(server, options, scattered)
        with server:
            columns[name] |= garbage(server, options)
    lines = [["", *columns], ["---", *["---:"] * len(columns)]]
    works = next(iter(columns.values()))
    lines += [[work, *(column.get(work, "") for column in columns.values())] for work in works]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def rates(server, options, scattered):
    found = {work: [] for work in WORKLOADS}
    for _ in range(options.runs):
        figures = bench(server.config(), WORKLOADS, options.seconds, options.concurrency, keep=True,
                        scattered=scattered)
        for work, figure in figures.items():
            found[work].append(figure["rate"])
        server.clear()
    return {f"{work}, a second": f"{median(rates):,.0f}" for work, rates in found.items()}


def sizes(server, options, scattered):
    """Bytes a peer, all that the table and its indexes take on disk."""
    shape = {"swarms": PEERS // 100, "peers": 100, "warmup": 0, "keep": True, "scattered": scattered}
    rate = bench(server.config(), ["put"], options.seconds, options.concurrency, **shape)["put"]["rate"]
    server.clear()
    bench(server.config(), ["scrape"], 0.1, **shape)
    fresh = size(server)
    server.clear()
    bench(server.config(), ["put"], round(PEERS * REANNOUNCES / rate, 1), options.concurrency, **shape)
    return {
        "bytes a peer, fresh": fresh,
        f"the same after about {REANNOUNCES} re-announces of each": size(server),
    }


def size(server):
    bytes_taken = server.sql("SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r'"
                             " AND relname IN ('mo_peers', 'mo_swarms')")
    return f"{int(bytes_taken) / int(server.sql('SELECT count(*) FROM mo_peers')):.0f}"


def garbage(server, options):
    """How long it takes to collect one of STALE peers of a large table."""
    for first in range(0, options.largest, FILL_AT_A_TIME):
        last = min(first + FILL_AT_A_TIME, options.largest) - 1
        server.sql(FILL.format(first=first, last=last, stale=STALE))
        print(f"tables: {last + 1:,} of {options.largest:,} peers", file=sys.stderr, flush=True)
    server.sql("VACUUM ANALYZE mo_peers; CHECKPOINT")
    query = statements(server.example)["gc_query"]
    in_pieces = "@limit" in query
    for name, value in {"created": "now() - interval '30 minutes'", "limit": str(PIECE)}.items():
        query = query.replace(f"@{name}", value)
    pieces = []
    while True:
        begun = time.monotonic()
        removed = int(server.sql(f"WITH gone AS ({query} RETURNING 1) SELECT count(*) FROM gone"))
        pieces.append((time.monotonic() - begun, removed))
        if not in_pieces or removed < PIECE:
            break
    took = sum(piece for piece, _ in pieces)
    return {
        f"garbage collection, one of {STALE} of {options.largest:,} peers": f"{took:.1f} s",
        "the longest transaction of it": f"{max(pieces)[0]:.1f} s",
    }
