"""Fuzzes the parsers, one after the other, and says what they could not stand.

It begins with what callerid's own tests read (taken down once, in .fuzz/corpus) and goes on from
what an earlier run has found new there (.fuzz/new). An input that fails lies in .fuzz/found; the
same target, given that file, shows the traceback again: scripts/fuzz --again FILE.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from lab.fuzz.corpus import FIXTURES, MOST_BYTES
from lab.fuzz.targets import TARGETS

CHECKOUT = Path(__file__).parents[3]
FOLDER = CHECKOUT / ".fuzz"
SECONDS = 60
SLOW_SECONDS = 10  # for one input of at most MOST_BYTES
MEGABYTES = 2000  # a packed bomb unpacks to 256
GRACE_SECONDS = 120


class Ran(NamedTuple):
    """What came of a target: inputs tried, places of the code reached, and the input that failed.

    `said` is the traceback.
    """

    tried: int
    reached: int
    found: Path | None
    said: str


def gather(folder: Path) -> None:
    """Take down what the tests read; raises CalledProcessError."""
    tests = [str(CHECKOUT / "tests" / name) for name in FIXTURES]
    plain = ("-q", "-p", "lab.fuzz.corpus", "-p", "no:cacheprovider")
    subprocess.run(
        [sys.executable, "-m", "pytest", *plain, *tests], cwd=CHECKOUT, check=True,
        env=_environment() | {"CALLERID_CORPUS": str(folder)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def fuzz(name: str, seconds: int, folder: Path) -> Ran:
    """Fuzz one target for so long."""
    new, found = folder / "new" / name, folder / "found"
    for each in (new, found):
        each.mkdir(parents=True, exist_ok=True)
    before = set(found.iterdir())
    bounds = (f"-max_len={MOST_BYTES}", f"-timeout={SLOW_SECONDS}", f"-rss_limit_mb={MEGABYTES}")
    done = subprocess.run(
        [sys.executable, "-m", "lab.fuzz.one", name, f"-max_total_time={seconds}", *bounds,
         f"-artifact_prefix={found}/{name}-", str(new), str(folder / "corpus" / name)],
        cwd=CHECKOUT, env=_environment(), capture_output=True, text=True, errors="replace",
        timeout=seconds + GRACE_SECONDS, check=False,
    )  # fmt: skip
    said = done.stderr
    bad = next(iter(set(found.iterdir()) - before), None)
    tried = [int(each) for each in re.findall(r"^#(\d+)\s", said, re.M)]
    tried += [int(each) for each in re.findall(r"^Done (\d+) runs", said, re.M)]
    reached = [int(each) for each in re.findall(r" cov: (\d+)", said)]
    trace = said[max(said.rfind(" === Uncaught"), 0) :] if bad or done.returncode else ""
    return Ran(max(tried, default=0), max(reached, default=0), bad, trace)


def again(file: Path) -> int:
    """Give a target one input again, and let it raise."""
    name = file.name.partition("-")[0]
    return subprocess.run(
        [sys.executable, "-m", "lab.fuzz.one", name, str(file)], env=_environment(), check=False
    ).returncode


def _environment() -> dict[str, str]:
    paths = (str(CHECKOUT / "addon"), str(CHECKOUT / "scripts"), os.environ.get("PYTHONPATH", ""))
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def main() -> int:
    options = _options()
    if options.again:
        return again(options.again)
    if not (FOLDER / "corpus").is_dir():
        print("taking down what the tests read ...", flush=True)
        gather(FOLDER / "corpus")
    failed = 0
    for name in options.targets or TARGETS:
        ran = fuzz(name, options.seconds, FOLDER)
        print(f"{name:10}{ran.tried:12,} inputs{ran.reached:6,} places", end="", flush=True)
        print(f"   {ran.found.relative_to(CHECKOUT)}" if ran.found else "", flush=True)
        if ran.said:
            print(ran.said)
        failed += bool(ran.found or ran.said)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("targets", nargs="*", metavar="TARGET", choices=[*TARGETS, []],
                        help=f"of {', '.join(TARGETS)} (default: all)")  # fmt: skip
    parser.add_argument("--seconds", type=int, default=SECONDS, metavar="N",
                        help=f"for each (default {SECONDS})")  # fmt: skip
    parser.add_argument("--again", type=Path, metavar="FILE", help="only this input, once")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
