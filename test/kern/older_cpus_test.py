"""Runs the kernels' tests on older processors, which qemu's user mode plays; prints TAP.

    older_cpus_test.py AVX2_ALONE CHECKKERN TEST...

The levels that CHECKKERN finds must be those that such a processor has, and the TESTs must
not meet an instruction that it lacks.  CHECKKERN itself would compare nothing there: it has
guard pages behind its vectors, and qemu 7.2 reads the lanes that a mask leaves out.
AVX2_ALONE is a program with an instruction of AVX2: that it dies where there is none shows
that such instructions are noticed.
"""

import shutil
import signal
import subprocess
import sys

QEMU = "qemu-x86_64"
# Processors, whether they have AVX2, and the levels that we have for them.
PROCESSORS = [
    ("Nehalem", False, ["scalar"]),
    ("IvyBridge", False, ["scalar"]),  # AVX and F16C
    ("Haswell", True, ["scalar", "avx2"]),
    ("Haswell,-fma", True, ["scalar"]),
    ("Haswell,-f16c", True, ["scalar"]),
    ("EPYC", True, ["scalar", "avx2"]),
]
TESTED = ["Nehalem", "Haswell"]


def run(processor, *command):
    return subprocess.run([QEMU, "-cpu", processor, *command], capture_output=True, text=True)


def levels(listing):
    """Those that have a kernel that runs, of checkkern's table: its columns are as wide as
    their heads are apart."""
    head, *rows = listing.splitlines()
    names = head.split()
    starts = [head.index(" " + name) + 1 for name in names]
    return [name for name, at in zip(names, starts) if any(row[at:at + 3] == "yes" for row in rows)]


def checks(avx2_alone, checkkern, tests):
    for processor, has_avx2, wanted in PROCESSORS:
        code = run(processor, avx2_alone).returncode
        yield code == (0 if has_avx2 else -signal.SIGILL), (
            f"{processor}: AVX2 is{'' if has_avx2 else ' not'} there")
        found = levels(run(processor, checkkern, "--list").stdout)
        yield found == wanted, f"{processor}: finds {', '.join(found)}"
    for processor in TESTED:
        for test in tests:
            code = run(processor, test).returncode
            yield code == 0, f"{processor}: {test.rsplit('/', 1)[-1]} ends with {code}"


def main():
    avx2_alone, checkkern, *tests = sys.argv[1:]
    if not shutil.which(QEMU):
        print("1..0 # SKIP", QEMU, "is not there")
        return 0
    number = failed = 0
    for good, name in checks(avx2_alone, checkkern, tests):
        number += 1
        failed += not good
        print("ok" if good else "not ok", number, "-", name, flush=True)
    print(f"1..{number}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
