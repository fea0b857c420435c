"""Perplexities of `realm score --file` beside those that llama.cpp gave for the same file and model
(score_cases.py); prints TAP.

    score_test.py REALM MODEL
"""

import sys
import tempfile

from score_cases import CASES, STORIES, quantized, score


def main():
    realm, model = sys.argv[1:]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for n, (kind, window, said, limit) in enumerate(CASES, 1):
            got = score(realm, quantized(realm, model, folder, kind), STORIES, window)["perplexity"]
            good = abs(got / said - 1) < limit
            failed += not good
            print("ok" if good else "not ok", n, "-", f"{kind} by windows of {window} #",
                  f"{got:.5f}, llama.cpp {said:.5f}", flush=True)
    print(f"1..{len(CASES)}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
