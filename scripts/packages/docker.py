"""Docker, as the tests of packages and images use it: what they start has a label, and is removed at the end."""

import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LABEL = "tracker-storage-test"
IMAGES = "localhost/tracker-storage-test"


class Failure(Exception):
    """Something does not hold."""


def run(*command, check=True, **options):
    """The standard output of a command."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT, **options}
    done = subprocess.run(command, **options)
    if check and done.returncode != 0:
        written = ((done.stdout or "") + (done.stderr or ""))[-4000:]
        raise Failure(f"`{' '.join(command)}` failed with {done.returncode}:\n{written}")
    return done.stdout if check else done


def require(holds, text, *more):
    if not holds:
        raise Failure("\n".join([text, *map(str, more)]))


def eventually(seconds, probe, text):
    """The result of `probe` as soon as it is neither false nor an error."""
    end, last = time.monotonic() + seconds, None
    while True:
        try:
            last = probe()
            if last:
                return last
        except Exception as error:  # noqa: BLE001 # whatever it is, it may pass
            last = error
        if time.monotonic() > end:
            raise Failure(f"{text}: not within {seconds} s; the last: {last!r}")
        time.sleep(0.2)


def answers():
    """Why Docker cannot be used, or nothing."""
    try:
        done = run("docker", "version", "--format", "{{.Server.Version}}", check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip()


def skip_without(script, required):
    """Ends the process where no Docker answers."""
    problem = answers()
    if problem:
        print(f"{script}: {'FAILED' if required else 'SKIPPED, NOTHING WAS TESTED'}: Docker does not answer: {problem}",
              file=sys.stderr)
        sys.exit(1 if required else 0)


def program(script, named):
    """The program to package: the one that is named, or the newest that is built."""
    if named:
        if not os.access(named, os.X_OK):
            sys.exit(f"{script}: there is no program {named}: build it, or leave out --binary")
        return os.path.abspath(named)
    built = [os.path.join(ROOT, "target", profile, "tracker-storage") for profile in ("debug", "release")]
    built = [path for path in built if os.path.exists(path)]
    if not built:
        sys.exit(f"{script}: nothing is built: run `cargo build --package tracker-storage-cli`, or give --binary FILE")
    return max(built, key=os.path.getmtime)


def build_base_images(*names):
    subprocess.run(["./scripts/build-test-images", *names], cwd=ROOT, check=True, stdout=sys.stderr)


def remove_leftovers(label):
    """What this run, or one before it that was killed, left."""
    containers = run("docker", "ps", "--all", "--quiet", "--filter", f"label={label}").split()
    if containers:
        run("docker", "rm", "--force", "--volumes", *containers)
