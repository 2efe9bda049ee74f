"""What PostgreSQL itself does with the statements of a configuration: pgbench, on the same tables."""

import random
import re

PEERS = 10_000
PEERS_OF_A_SWARM = 100
# pgbench takes no more scripts, and a command line holds no more values.
MOST_BATCHES = 64
MOST_ROWS = 4_096


def statements(example):
    """The values of a configuration as `example-config` prints it, by `section.key`."""
    found, path, block = {}, [], None
    for line in example.splitlines():
        indent = len(line) - len(line.lstrip())
        text = line.strip()
        if block is not None:
            if not text or indent > block[1]:
                found[block[0]].append(line[block[1] + 2:])
                continue
            block = None
        if not text or text.startswith("#") or ":" not in text:
            continue
        key, value = text.split(":", 1)
        path = path[: indent // 2] + [key]
        name, value = ".".join(path[2:]), value.strip()
        if value in ("|-", "|"):
            found[name], block = [], (name, indent)
        elif value:
            found[name] = [value.strip("'\"")]
    return {name: "\n".join(lines).strip() for name, lines in found.items()}


def without(example, keys):
    """The configuration without these keys (the last part of their names)."""
    kept, dropped = [], None
    for line in example.splitlines():
        indent = len(line) - len(line.lstrip())
        if dropped is not None and (not line.strip() or indent > dropped):
            continue
        dropped = indent if line.strip().split(":")[0] in keys else None
        if dropped is None:
            kept.append(line)
    return "\n".join(kept)


def arguments_of(statement):
    """The names of its arguments, in order."""
    return re.findall(r"(?<![@<>\w])@([a-z]\w*)", statement)


def with_arguments(statement, value):
    """The statement with `value(name)` for each argument, on one line, as pgbench wants it."""
    text = re.sub(r"(?<![@<>\w])@([a-z]\w*)", lambda found: value(found[1]), statement)
    return " ".join(text.split()) + ";"


# Later than any call has to end.
FAR = "2200-01-01 00:00:00Z"

# Peer :n of swarm :n / 100, made by the server; that costs it far less than the statement.
SINGLE = {
    "info_hash": r"(int8send(:n::int8 / 100) || '\x746573742d737761726d2d2d'::bytea)",
    "peer_id": r"('\x2d5452343034302d'::bytea || int8send(:n::int8 * 7919) || '\x2d2d2d2d'::bytea)",
    "address": "(CASE WHEN :n::int8 / 2 % 2 = 0 THEN '10.0.0.0'::inet ELSE 'fd00::'::inet END + :n::int8)",
    "port": "6881",
    "is_seeder": "(:n::int8 % 2 = 0)",
    "is_v6": "(:n::int8 / 2 % 2 = 1)",
    "created": "clock_timestamp()",
    "expires": f"'{FAR}'::timestamptz",
    "sample": "(:sample)::int4",
}


def peer(number):
    """The same peer as text."""
    swarm, is_v6 = number // PEERS_OF_A_SWARM, number // 2 % 2 == 1
    low = f"{number:032x}"
    return {
        "info_hash": r"\x" + f"{swarm:016x}" + "test-swarm--".encode().hex(),
        "peer_id": r"\x" + "-TR4040-".encode().hex() + f"{number * 7919:016x}" + "----".encode().hex(),
        "address": f"fd00::{low[-8:-4]}:{low[-4:]}" if is_v6 else f"10.0.{number >> 8}.{number & 255}",
        "port": "6881",
        "is_seeder": "t" if number % 2 == 0 else "f",
        "is_v6": "t" if is_v6 else "f",
    }


class PgLimit:
    """Rates of statements, without anything between them and the server."""

    def __init__(self, server, connections, seconds):
        self.server, self.connections, self.seconds = server, connections, seconds
        self.statements = statements(server.example)

    def fill(self):
        """Puts the 10,000 peers there."""
        add = self.statements["peer.add_query"]

        def literal(values):
            values = {**values, "created": "now", "expires": FAR}
            return lambda name: f"'{values[name]}'"

        lines = [with_arguments(add, literal(peer(number))) for number in range(PEERS)]
        self.server.sql("BEGIN;\n" + "\n".join(lines) + "\nCOMMIT; ANALYZE mo_peers;")

    def single(self, *keys):
        """How often a second each of these is done, one row a statement."""
        return self._rate([self._line(key) for key in keys])

    def announce(self):
        """Announces of 50: the seeders, then the leechers that are still wanted."""
        query = self.statements["announce.query"]
        roles = [("true", "50"), ("false", "25")]
        given = [{"is_seeder": role, "is_v6": "false", "count": count} for role, count in roles]
        return self._rate([with_arguments(query, lambda name: {**SINGLE, **one}[name]) for one in given])

    def lifecycle(self):
        """A leecher put, graduated with its download in one transaction, deleted."""
        # Numbers beyond those of the peers that are there.
        beyond = {**SINGLE, "is_seeder": "false"}

        def line(key, **given):
            return with_arguments(self.statements[key], lambda name: {**beyond, **given}[name])

        # Downloads wait for the disk.
        graduate = ["BEGIN;", "SET LOCAL synchronous_commit = on;", line("peer.graduate_query"), line("downloads.inc_query"), "END;"]
        lines = [line("peer.add_query"), *graduate, line("peer.del_query", is_seeder="true")]
        return self._rate(lines, numbers=(PEERS, 2_000_000_000))

    def whole_announce(self):
        """Put, announce and counts, one statement after the other."""
        query = self.statements["announce.query"]
        given = {**SINGLE, "is_seeder": "true", "count": "50"}
        found = [with_arguments(query, lambda name: {**given, **one}[name])
                 for one in ({}, {"is_seeder": "false", "count": "25"})]
        counts = [self._line("peer.count_query"), self._line("downloads.get_query")]
        return self._rate([self._line("peer.add_query"), *found, *counts])

    def batches(self, keys, rows, in_flight):
        """How often a second all of these are done, one after the other, in batches of so many rows."""
        variables, scripts = {}, []
        for batch in range(max(1, min(MOST_BATCHES, MOST_ROWS // rows))):
            lines = []
            for key in keys:
                values, prefix = self._arrays(rows, key), f"b{batch}_{key.replace('.', '_')}_"
                names = set(arguments_of(self.statements[key]))
                variables |= {prefix + name: values[name] for name in names}
                lines.append(with_arguments(self.statements[key], lambda name: f":{prefix}{name}"))
            scripts.append("\n".join(lines))
        return self.server.pgbench(scripts, in_flight, self.seconds, variables) * rows

    def _arrays(self, rows, key):
        """A value for each argument, of peers at random; those that are written in the order of keys."""
        numbers = random.sample(range(PEERS), rows)
        if key == "peer.add_batch_query":
            numbers.sort()
        peers = [peer(number) for number in numbers]
        arrays = {name: [one[name] for one in peers] for name in peers[0]}
        arrays["created"] = ["2026-11-22 15:28:09Z"] * rows
        arrays["expires"] = [FAR] * rows
        arrays["request"] = range(rows)
        arrays["sample"] = [random.randrange(2**31) for _ in range(rows)]
        arrays["for_seeder"] = ["f"] * rows
        if key == "announce.batch_query":
            arrays["is_v6"] = ["f"] * rows
        escaped = lambda value: '"' + str(value).replace("\\", "\\\\") + '"'
        texts = {name: "{" + ",".join(map(escaped, values)) + "}" for name, values in arrays.items()}
        return {**texts, "limit": "50"}

    def _line(self, key):
        statement = self.statements[key]
        if key == "peer.count_query":
            statement += " " + self.statements["peer.by_info_hash_clause"]
        return with_arguments(statement, lambda name: SINGLE[name])

    def _rate(self, lines, numbers=(0, PEERS - 1)):
        draw = f"\\set n random({numbers[0]}, {numbers[1]})\n\\set sample random(0, 2147483647)\n"
        return self.server.pgbench([draw + "\n".join(lines) + "\n"], self.connections, self.seconds)
