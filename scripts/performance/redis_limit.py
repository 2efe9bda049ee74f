"""What Redis itself does with the commands that a storage sends: redis-benchmark, pipelined."""

import re
import subprocess
import tempfile
import time

from .bench import started
from .servers import run

# Redis answers these while a storage opens, and they are no work.
ASIDE = {b"HELLO", b"CLIENT", b"AUTH", b"SELECT", b"PING", b"INFO", b"SCRIPT", b"CONFIG", b"COMMAND", b"FUNCTION"}
# Done once, these find nothing to do any more.
ONCE = {b"stopped", b"completed"}
# What redis-benchmark puts a random number of twelve digits for.
RANDOM = b"__rand_int__"
# Swarms of 100 peers, half of them seeders, half of either with IPv6 addresses: 25 in a hash.
IN_A_HASH = 25
ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}


def arguments_of(line):
    """The arguments of a command, as MONITOR prints them."""
    found = re.findall(rb'"((?:[^"\\]|\\.)*)"', line)
    unescape = lambda part: bytes.fromhex(part[1][1:].decode()) if part[1][:1] == b"x" else ESCAPES.get(part[1], part[1])
    return [re.sub(rb"\\(x[0-9a-f]{2}|.)", unescape, argument, flags=re.S) for argument in found]


class RedisLimit:
    """Rates of commands, without anything between them and the server."""

    def __init__(self, server, connections, seconds, pipeline):
        self.server, self.connections, self.seconds, self.pipeline = server, connections, seconds, pipeline

    def rate(self, workload, spread=False):
        """Calls a second of the command that a workload sends. `spread`: over peers and swarms at random,
        for commands that find nothing of theirs missing."""
        command = self._captured(workload)
        if spread:
            command = [self._spread(argument) for argument in command]
        count = int(60_000 * self.seconds)
        arguments = ["redis-benchmark", "-p", str(self.server.port), "-c", str(self.connections)]
        arguments += ["-P", str(self.pipeline), "-r", str(IN_A_HASH), "--csv"]
        if spread:
            # Everything is there before it is timed.
            run([*arguments, "-n", str(50 * IN_A_HASH**2), *command])
        printed = run([*arguments, "-n", str(count), *command])
        rate = float(re.findall(r'"([\d.]+)"(?:,"[\d.]+"){6}\s*$', printed)[-1])
        self.server.clear()
        return rate

    def _captured(self, workload):
        """A command that a caller of the workload sent, without NUL bytes, which a command line can't hold."""
        with tempfile.TemporaryFile() as seen:
            monitor = subprocess.Popen(["redis-cli", "-p", str(self.server.port), "monitor"], stdout=seen)
            time.sleep(0.5)
            # Whole announces come for swarms of all sizes, from the largest on.
            peers = 1000 if workload == "tracker" else 100
            caller = started(self.server.config(), workload, 0.2, swarms=10, peers=peers)
            said = caller.stderr.read()
            caller.wait()
            time.sleep(0.5)
            monitor.terminate()
            monitor.wait()
            seen.seek(0)
            lines = seen.read().split(b"\n")
        prefix = bytes.fromhex(re.search(rb"info hashes begin with ([0-9a-f]+)", said)[1].decode())
        self.prefix = prefix
        # The last commands are those of the workload; before them come those of the filling.
        for line in reversed(lines):
            origin = re.match(rb"[\d.]+ \[\d+ ([^\]]+)\]", line)
            if not origin or origin[1] == b"lua":
                continue
            command = arguments_of(line[origin.end():])
            whole = b"\0".join(command)
            if not command or command[0].upper() in ASIDE or ONCE & set(command):
                continue
            if prefix in whole and whole.count(b"\0") == len(command) - 1:
                return command
        raise RuntimeError(f"{workload}: no command was seen")

    def _spread(self, argument):
        place = argument.find(self.prefix)
        if place >= 0:
            return argument[:place] + b"swarm---" + RANDOM + argument[place + 20:]
        if argument.startswith(b"-TR4040-"):
            return argument[:8] + RANDOM + argument[20:]
        return argument
