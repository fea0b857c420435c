"""Sees that no level's machine code has an instruction above it; prints TAP.

    levels_test.py LEVEL=LIBRARY...

Each library is taken apart by objdump, and an assembler that knows the level's instruction
sets and no others is asked to put it together again.  That the level below does not do is
checked, too: else nothing would have been.
"""

import re
import subprocess
import sys
import tempfile

# What src/kernels/cpu.c asks the processor for before a level is used; ibt: what marks
# the places that calls lead to does nothing on older processors.
SCALAR = "generic64+ibt"
AVX2 = SCALAR + "+avx2+fma+f16c"
AVX512 = AVX2 + "+avx512f+avx512bw+avx512dq+avx512vl"
LEVELS = {
    "scalar": (SCALAR, None),
    "avx2": (AVX2, SCALAR),
    "avxvnni": (AVX2 + "+avx_vnni", AVX2),
    "avx512": (AVX512, AVX2),
    "vnni": (AVX512 + "+avx512_vnni", AVX512),
    "bf16": (AVX512 + "+avx512_bf16", AVX512 + "+avx512_vnni"),
}
# Where a jump leads does not matter, nor what fills a gap; xgetbv comes after the bit that
# says that there is one (base/compiler.h).
LEFT_OUT = re.compile(r"(j\w+|call)\s+[0-9a-f]+ <|.*\bnop|xgetbv")


def instructions(library):
    text = subprocess.run(["objdump", "-d", "-w", library], check=True, capture_output=True,
                          text=True).stdout
    lines = [line.split("\t")[2].split("#")[0].strip() for line in text.splitlines()
             if line.count("\t") >= 2]
    return [line for line in lines if not LEFT_OUT.match(line)]


def complaints(lines, sets):
    """What an assembler for these instruction sets says of the lines."""
    with tempfile.NamedTemporaryFile("w", suffix=".s") as source:
        source.write("\n".join(lines) + "\n")
        source.flush()
        done = subprocess.run(["as", "-march=" + sets, source.name, "-o", "/dev/null"],
                              capture_output=True, text=True)
    return [line for line in done.stderr.splitlines() if "Error" in line]


def check(level, library):
    own, below = LEVELS[level]
    lines = instructions(library)
    above = complaints(lines, own)
    tells = below is None or complaints(lines, below)
    return len(lines) > 100 and not above and tells, f"{len(lines)} instructions {above[:3]}"


def main():
    try:
        for program in ("objdump", "as"):
            subprocess.run([program, "--version"], check=True, stdout=subprocess.DEVNULL)
    except FileNotFoundError as missing:
        print("1..0 # SKIP", missing.filename, "is not there")
        return 0
    failed = 0
    for number, item in enumerate(sys.argv[1:], 1):
        level, library = item.split("=", 1)
        good, note = check(level, library)
        failed += not good
        print("ok" if good else "not ok", number, "-", level, library.rsplit("/", 1)[-1], "#", note)
    print(f"1..{len(sys.argv) - 1}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
