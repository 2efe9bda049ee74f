"""What a peer takes: in the tables of PostgreSQL, in Redis, in the process."""

from .bench import bench
from .servers import Memory, Postgres, Redis

PEERS = 100_000
PEERS_OF_A_SWARM = [100, 2]


def table(options):
    """Bytes a peer, half of the peers with IPv6 addresses."""
    measured = {"pg": pg, "redis": redis, "memory": memory}
    rows = []
    for name, measure in measured.items():
        if not options.only or name in options.only:
            rows += measure(options)
    lines = [["storage", "peers", "bytes a peer"], ["---", "---", "---"], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def filled(server, peers, workload, seconds):
    shape = {"swarms": PEERS // peers, "peers": peers}
    return bench(server.config(), [workload], seconds, warmup=0, keep=True, **shape)[workload]


def pg(options):
    rows = []
    with Postgres() as server:
        filled(server, 100, "scrape", 0.1)
        rows.append(["pg", "in swarms of 100, fresh", of_table(server)])
        server.clear()
        figure = filled(server, 100, "put", 10 * options.seconds)
        rounds = figure["operations"] / PEERS
        rows.append(["pg", f"the same after {rounds:.1f} re-announces of each", of_table(server)])
    return rows


def of_table(server):
    heap, index, count = map(int, server.sql(
        "SELECT pg_table_size('mo_peers'), pg_indexes_size('mo_peers'), count(*) FROM mo_peers").split("|"))
    return f"{(heap + index) / count:.0f} ({heap / count:.0f} heap, {index / count:.0f} indexes)"


def redis(_options):
    rows = []
    for peers in PEERS_OF_A_SWARM:
        with Redis() as server:
            before = int(server.info("used_memory"))
            filled(server, peers, "scrape", 0.1)
            grown = int(server.info("used_memory")) - before
            rows.append(["redis", f"in swarms of {peers}", f"{grown / PEERS:.0f}"])
    return rows


def memory(_options):
    rows = []
    for peers in PEERS_OF_A_SWARM:
        with Memory() as storage:
            figure = bench(storage.config(), ["scrape"], 0.1, warmup=0, swarms=10, peers=peers)["scrape"]
            rows.append(["memory", f"in swarms of {peers}", str(figure["bytes_per_peer"])])
    return rows
