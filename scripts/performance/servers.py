"""PostgreSQL and Redis in temporary directories, with stock settings, on free loopback ports."""

import glob
import os
import shutil
import socket
import subprocess
import tempfile
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMMAND = os.path.join(REPOSITORY, "target", "release", "tracker-storage")
USER = "tracker"


def build():
    """Builds the command as it is shipped."""
    subprocess.run(["cargo", "build", "--release", "-q", "-p", "tracker-storage-cli"], cwd=REPOSITORY, check=True)


def run(arguments, **options):
    """Runs a program to its end and gives what it printed."""
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    if done.returncode != 0:
        shown = b" ".join(os.fsencode(argument) for argument in arguments)[:200]
        raise RuntimeError(f"{shown!r} failed:\n{done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout.decode(errors="replace")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Postgres:
    """A server, and in it the tables that `schema pg` prints, or others with their configuration."""

    name = "pg"

    def __init__(self, settings=(), schema_options=(), tables=None, example=None):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
        if not found:
            raise SystemExit("the server programs of PostgreSQL are needed in /usr/lib/postgresql")
        self.programs = found[-1]
        self.settings = settings
        self.schema_options = list(schema_options)
        self.tables, self.example = tables, example

    def __enter__(self):
        self.place = tempfile.mkdtemp(prefix="tracker-storage-pg-")
        self.port = free_port()
        self.data = os.path.join(self.place, "data")
        if os.getuid() == 0:
            # PostgreSQL does not run as root.
            shutil.chown(self.place, "postgres")
        try:
            self._as_server("initdb", "-D", self.data, "-U", USER, "--auth=trust", "--no-sync")
            options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
            options += "".join(f" -c {setting}" for setting in self.settings)
            log = os.path.join(self.place, "log")
            self._as_server("pg_ctl", "-D", self.data, "-w", "-l", log, "-o", options, "start")
            self.sql(self.tables or run([COMMAND, "schema", "pg", *self.schema_options]))
        except BaseException:
            self.__exit__()
            raise
        self.example = self.example or run([COMMAND, "example-config", "pg", *self.schema_options])
        return self

    def __exit__(self, *_):
        stop = [self.programs + "/pg_ctl", "-D", self.data, "-m", "immediate", "stop"]
        subprocess.run(self._server_user() + stop, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.place, ignore_errors=True)

    def config(self, text=None):
        """A configuration file for it: the recommended one, or another text."""
        connection = f"connection_string: host=127.0.0.1 port={self.port} database=postgres user={USER}"
        lines = (text or self.example).splitlines()
        lines = [f"    {connection}" if "connection_string:" in line else line for line in lines]
        return written(self.place, "\n".join(lines))

    def environment(self):
        place = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": USER, "PGDATABASE": "postgres"}
        return {**os.environ, **place}

    def sql(self, script):
        """Runs statements; gives the rows as text."""
        arguments = [self.programs + "/psql", "-XAtq", "-v", "ON_ERROR_STOP=1"]
        return run(arguments, input=script.encode(), env=self.environment()).strip()

    def pgbench(self, scripts, connections, seconds, variables=None):
        """Transactions a second of these scripts, taken at random."""
        paths = [written(self.place, script) for script in scripts]
        arguments = [self.programs + "/pgbench", "-n", "-M", "prepared", "-T", str(max(1, round(seconds)))]
        arguments += ["-c", str(connections), "-j", str(min(connections, os.cpu_count() or 1))]
        for name, value in (variables or {}).items():
            arguments += ["-D", f"{name}={value}"]
        for path in paths:
            arguments += ["-f", path]
        # As the storage writes peers.
        options = {"PGOPTIONS": "-c synchronous_commit=off"}
        printed = run(arguments, env={**self.environment(), **options})
        for path in paths:
            os.remove(path)
        return float(printed.split("tps = ")[1].split()[0])

    def server(self):
        return self.sql("SHOW server_version")

    def clear(self):
        # Vacuum gives back the pages of counts, which the trigger has deleted.
        self.sql("TRUNCATE mo_peers, mo_downloads; VACUUM; CHECKPOINT")

    def _server_user(self):
        return ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []

    def _as_server(self, program, *arguments):
        # Its output would be held open by the server that goes on.
        command = self._server_user() + [f"{self.programs}/{program}", *arguments]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.place)
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed")


class Redis:
    """A server without persistence."""

    name = "redis"

    def __enter__(self):
        self.place = tempfile.mkdtemp(prefix="tracker-storage-redis-")
        self.port = free_port()
        arguments = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen(arguments, cwd=self.place, stdout=subprocess.DEVNULL)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                time.sleep(0.1)
        self.__exit__()
        raise RuntimeError("redis-server does not answer")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.place, ignore_errors=True)

    def config(self):
        text = f"storage:\n  name: redis\n  config:\n    addresses: ['127.0.0.1:{self.port}']\n"
        return written(self.place, text)

    def cli(self, *arguments):
        return run(["redis-cli", "-p", str(self.port), *arguments])

    def info(self, key):
        return next(line.split(":")[1].strip() for line in self.cli("INFO").splitlines() if line.startswith(key + ":"))

    def server(self):
        return self.info("redis_version")

    def clear(self):
        self.cli("FLUSHALL")


class Memory:
    """The storage in the process itself."""

    name = "memory"

    def __enter__(self):
        self.place = tempfile.mkdtemp(prefix="tracker-storage-memory-")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.place, ignore_errors=True)

    def config(self):
        return written(self.place, "storage:\n  name: memory\n")

    def clear(self):
        pass


def written(place, text):
    """A new file with this text, that the server's user may read."""
    handle, path = tempfile.mkstemp(dir=place, suffix=".yaml")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.chmod(path, 0o644)
    return path
