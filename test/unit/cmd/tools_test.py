"""The program's tools as a person calls them: doctor, bench, score, run; prints TAP.

    tools_test.py REALM

For `realm bench --compare` a script stands in for llama.cpp's process.
"""

import json
import os
import pty
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

REALM = sys.argv[1]
ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "models/tiny/tiny-q8_0.gguf"
SANITIZED = "sanitize" in sys.argv[2:]

FAKE = """#!/usr/bin/env python3
import sys
print("ready a stand-in", *sys.argv[3:], flush=True)
with open({log!r}, "w") as log:
    for line in sys.stdin:
        log.write(line)
        log.flush()
        print({answer!r}, flush=True)
        {after}
"""


def realm(*args, status=0, **env):
    """What it prints on stdout, or on stderr where it is to fail."""
    keep = {k: v for k, v in os.environ.items() if k not in ("REALM_CPU", "REALM_PEER")}
    done = subprocess.run([REALM, *map(str, args)], env={**keep, **env}, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == status, (done.returncode, done.stderr)
    return done.stderr if status else done.stdout


def folder():
    return tempfile.TemporaryDirectory(prefix="realm-tools-")


# ---- doctor --------------------------------------------------------------------------------------


def doctor_measures_in_seconds():
    start = time.monotonic()
    d = json.loads(realm("doctor", "--json"))
    took = time.monotonic() - start
    assert took < 3 or SANITIZED or os.getloadavg()[0] > 2, took
    assert d["processors"] == len(os.sched_getaffinity(0))
    assert d["threads"] == min(d["processors"], max(1, int(d.get("quota", d["processors"]))))
    assert 1 <= d["cores"] <= d["processors"]
    assert d["memory_bytes"] > d["budget_bytes"] > 0
    assert 0.5 < d["read_gb_s"] < 2000 or d["read_gb_s"] == 0
    assert all(0.01 < rate < 1e6 for rate in d["products_gop_s"].values()), d["products_gop_s"]


def doctor_expects_what_it_measured():
    d = json.loads(realm("doctor", "--json", "-t", 1))
    assert d["threads"] == 1
    models = {(m["size"], m["type"]): m for m in d["models"]}
    assert {size for size, _ in models} == {"0.5B", "1B", "3B", "8B", "14B", "32B"}
    for m in models.values():
        assert m["fits"] == (m["bytes"] <= d["budget_bytes"])
    small = models["1B", "Q8_0"]  # all its weights are read for a token
    want = 0.9e9 * d["read_gb_s"] / small["weight_bytes"]
    assert abs(small["decode_tok_s"] - want) <= 0.01 + want * 0.01, (small, want)
    want = d["products_gop_s"]["Q8_0"] / small["prefill_tok_s"] / (2 * 0.973)
    assert 1 <= want < 2, want  # what products alone would reach, against what is said


def doctor_speaks_to_people():
    text = realm("doctor")
    for word in ("processor ", "kernels ", "memory ", "huge pages ", "multiplies ", "8B    Q4_K_M"):
        assert word in text, (word, text)
    assert "REALM_CPU" not in text


def doctor_warns():
    threads = len(os.sched_getaffinity(0)) + 1
    d = json.loads(realm("doctor", "--json", "-t", threads, REALM_CPU="scalar"))
    assert d["kernels"] == "scalar"
    said = " ".join(d["warnings"])
    assert f"{threads} threads have to share" in said, said
    assert "REALM_CPU is set" in said or "no AVX2" in said, said


def doctor_knows_what_it_does_not_know():
    assert "there is nothing to do with 'me'" in realm("doctor", "me", status=2)
    assert realm("doctor", "-t", 0, status=2) == \
        "realm doctor: -t/--threads must be a whole number from 1 to 256, not '0'\n"


# ---- bench ---------------------------------------------------------------------------------------


def bench_has_tokens_before():
    out = json.loads(realm("bench", "-p", 64, "-n", 8, "-b", "1,2", "-d", 100, "-r", 2, "--json"))
    assert (out["depth"], out["runs"], len(out["rows"])) == (100, 2, 3)
    for row in out["rows"]:
        rate = row["tok_s"]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"], row
    said = realm("bench", "-d", 100000, "-r", 1, status=2)
    assert "-d 100000 and -p 512 do not fit the model's context of 1024 tokens" in said, said
    assert "-p 1024 do not fit" in realm("bench", "-p", 1024, "-r", 1, status=2)
    assert "read bandwidth" not in realm("bench", "-p", 0, "-n", 4, "-b", 1, "-r", 1)


def bench_wants_something_to_measure():
    assert "nothing to measure" in realm("bench", "-p", 0, "-b", "", status=2)
    assert "-b/--batch must be a whole number from 1 to 256, not '0'" in \
        realm("bench", "-b", 0, status=2)


def bench_counts_one_thing_as_one():
    said = realm("bench", "-p", 8, "-b", "", "-r", 1, "-t", 1, "-d", 1, "--kv", "BF16")
    assert ", 1 thread, kv bf16, 1 token before, 1 run\n" in said, said
    said = realm("bench", "-p", 8, "-b", "", "-r", 2, "-t", 2)
    assert ", 2 threads, kv f16, 0 tokens before, 2 runs\n" in said, said
    assert "--kv must be f16, f32, bf16 or q8_0, not 'Q4'" in realm("bench", "--kv", "Q4", status=2)


def compare(answer, after="", status=0, args=("-r", 1)):
    with folder() as path:
        fake, log = Path(path, "fake"), Path(path, "log")
        fake.write_text(FAKE.format(log=str(log), answer=answer, after=after))
        fake.chmod(0o700)
        out = realm("bench", "--compare", "-p", 32, "-n", 4, "-b", "1,3", "-d", 16, "-t", 1,
                    *args, status=status, REALM_PEER=str(fake))
        return out, log.read_text().splitlines() if log.exists() else []


def bench_compares_in_turns():
    out, asked = compare("rate 50", args=["-r", 2, "--json"])
    out = json.loads(out)
    assert out["peer"] == "a stand-in 1 f16", out["peer"]
    assert asked == ["prefill 32 16", "decode 4 1 16", "decode 4 3 16"] * 3, asked  # 1 to warm up
    for row in out["rows"]:
        assert row["peer_tok_s"] == {"median": 50, "min": 50, "max": 50}
        assert abs(row["ratio"]["max"] - row["tok_s"]["max"] / 50) < 1e-3, row
    text, _ = compare("rate 50")
    assert "llama.cpp" in text and "beside a stand-in" in text and "least to greatest" in text


def bench_says_why_it_cannot_compare():
    said, _ = compare("failed no context of 9 tokens", status=1)
    assert "realm bench: llama.cpp: failed no context of 9 tokens" in said, said
    said, _ = compare("rate 5", after="break", status=1)
    assert "llama.cpp's process has ended" in said, said
    said, _ = compare("rate nothing", status=1)
    assert "realm bench: llama.cpp: rate nothing" in said, said
    said = realm("bench", "--compare", status=1, REALM_PEER="/nonexistent/python")
    assert "/nonexistent/python cannot be started" in said, said


# ---- score ---------------------------------------------------------------------------------------


def score_of_a_file_is_a_perplexity():
    with folder() as path:
        text = Path(path, "text")
        text.write_text("Once upon a time there was a fox who lived by a blue lake. " * 40)
        out = json.loads(realm("score", "--file", text, "--window", 64, "--json"))
        assert out["window"] == 64 and out["windows"] > 5
        assert out["scored_tokens"] == out["windows"] * 31
        assert out["perplexity"] > 1 and out["perplexity_error"] > 0
        assert "+/-" in realm("score", "--file", text, "-w", 64)
        assert "windows of 64, the second half of each\n" in \
            realm("score", "--file", text, "-w", 64)
        assert ": 1 window of 512, " in realm("score", "--file", text)
        tokens = json.loads(realm("score", "--file", text, "--window", 0, "--json"))["tokens"]
        assert len(tokens) // 64 == out["windows"]


def score_names_what_is_wrong():
    with folder() as path:
        text = Path(path, "text")
        text.write_text("Too short.")
        assert "fewer than a window of 512" in realm("score", "--file", text, status=2)
        assert "over the model's context of 1024" in realm(
            "score", "--file", text, "-w", 1025, status=2)
        assert "4 tokens at least" in realm("score", "--file", text, "-w", 3, status=2)
        assert "--top shows" in realm("score", "--file", text, "--top", 3, status=2)
        assert "ids are taken as they are" in realm("score", "--ids", "1,2", "-w", 8, status=2)


# ---- run -----------------------------------------------------------------------------------------


def run_names_a_guest_that_is_none():
    assert f"the guest {__file__}: this is no WebAssembly" in \
        realm("run", "--guest", __file__, "hi", status=1)


def run_knows_a_model_from_a_prompt():
    with folder() as path:
        model = Path(path, "some.gguf")
        assert "name it with -m" not in realm("run", model.name, "-n", 1)  # there is no such file
        model.write_bytes(b"")
        assert "is a model's file and no prompt; name it with -m" in realm("run", model, status=2)
    assert "name a model with -m" in realm("run", "tiny", "hi", status=2)


def run_names_an_option_as_it_is_written():
    tokens = "-n/--max-tokens must be a whole number from 1 to 4294967295"
    for args, told in ((("-n", -5), tokens), (("--max-tokens", "abc"), tokens),
                       (("--top-p", 0), "--top-p must be a number over 0 and up to 1"),
                       (("--temperature", 101), "--temperature must be a number from 0 to 100"),
                       (("-t", 0), "-t/--threads must be a whole number from 1 to 256"),
                       (("--seed", "x"), "--seed must be a whole number from 0 to "
                                         "18446744073709551615")):
        said = realm("run", "hi", *args, status=2)
        assert said == f"realm run: {told}, not '{args[1]}'\n", said
    assert realm("run", "-m", "", "hi", status=2) == \
        "realm run: -m/--model wants a FILE, and its value is empty\n"


# ---- serve ---------------------------------------------------------------------------------------


def serve_tells_a_person_where_to_begin():
    with folder() as path:
        ours, theirs = pty.openpty()
        p = subprocess.Popen([REALM, "serve", "--port", "0", "--state", path], stdout=theirs,
                             stderr=subprocess.DEVNULL)
        os.close(theirs)
        try:
            with open(ours, encoding="utf-8", newline="\n") as screen:
                url = screen.readline().removeprefix("listening on ").strip()
                assert f" {url}/v1 as base_url; `curl {url}/v1/models` " in screen.readline(), url
        finally:
            p.terminate()
        assert p.wait(60) == 0


# ---- limits --------------------------------------------------------------------------------------


def limits_are_all_there():
    listed = json.loads(realm("limits", "--json"))
    limits = {x["name"]: x for x in listed["limits"]}
    assert len(limits) == len(listed["limits"]) > 100
    assert all(x["unit"] or x["name"] == "PRIORITY_MAX" for x in limits.values())
    assert {k: limits["GGUF_STRING_MAX"][k] for k in ("value", "unit", "part")} == \
        {"value": 16 << 20, "unit": "bytes", "part": "GGUF files"}
    used = set()
    for source in ("src", "cmd"):
        for path in (ROOT / source).rglob("*.[ch]"):
            used |= set(re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", path.read_text()))
    assert set(limits) <= used, set(limits) - used


def limits_of_the_configuration_are_its_defaults():
    listed = json.loads(realm("limits", "--json"))["configuration"]
    group = realm("serve", "--print-config").split("\nlimits:\n")[1].split("\n\n\n")[0]
    values = re.findall(r"^  ([a-z_]+): (\S+)$", group.split("\ntenants:")[0], re.M)
    scale = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    defaults = {f"limits.{name}": int(re.match(r"\d+", text)[0]) * scale.get(text[-3:], 1)
                for name, text in values}
    assert {x["key"]: x["default"] for x in listed} == defaults, defaults
    units = {x["key"]: x["unit"] for x in listed}
    assert units["limits.body_bytes_per_s"] == "bytes/s" and units["limits.idle_s"] == "s", units
    assert all(x["min"] <= x["default"] <= x["max"] for x in listed)


def limits_are_told_to_people():
    said = realm("limits")
    assert re.search(r"^ +16 MiB +GGUF_STRING_MAX +one text in a header$", said, re.M), said
    assert re.search(r"^ +1024 bytes/s +limits.body_bytes_per_s ", said, re.M), said
    assert re.search(r"^ +4096 connections +limits.connections ", said, re.M), said
    assert all(len(line) < 140 for line in said.split("\nthe conf")[0].splitlines())
    assert "'x' is no option" in realm("limits", "x", status=2)


# ---- all -----------------------------------------------------------------------------------------


def help_of_each_command():
    for line in realm("help").split("commands:\n")[1].split("\n\n")[0].splitlines():
        name = line.split()[0]
        text = realm(name, "--help")
        assert text.startswith(f"usage: realm {name}") and "examples:" in text, text
        assert realm("help", name) == text
    assert realm("version") == realm("--version")
    assert "`realm help COMMAND`" in realm("--help") and "`realm version`" in realm("--help")


def commands_of_other_programs_are_known():
    for word, command in (("chat", "run"), ("ps", "models"), ("show", "inspect")):
        assert f"no command '{word}'; `realm {command}` may be" in realm(word, status=2)
    assert realm("frob", status=2) == \
        "realm: there is no command 'frob'; `realm --help` lists them\n"
    assert "there is no command 'frob'" in realm("help", "frob", status=2)


def files_are_named_with_their_folders():
    with folder() as path:
        for args in (("run", "-m", f"{path}/no.gguf", "hi"), ("inspect", f"{path}/no.gguf"),
                     ("quantize", f"{path}/no.gguf", f"{path}/out.gguf", "Q8_0"),
                     ("score", "-m", f"{path}/no.gguf", "hi"),
                     ("tokenize", "-m", f"{path}/no.gguf", "hi")):
            said = realm(*args, status=1)
            assert said == f"realm {args[0]}: {path}/no.gguf: no such file\n", said
        assert realm("inspect", path, status=1) == \
            f"realm inspect: {path}: a folder, not a file\n"


def damaged_files_are_told_of_with_their_paths():
    whole = MODEL.read_bytes()
    with folder() as path:
        bad = Path(path, "bad.gguf")
        short = "the file is cut short or damaged"
        for content, told in (
                (b"", "the file is empty"),
                (b"hi", "no GGUF file: it does not begin with GGUF"),
                (whole[:10], f"{short}: it ends at offset 10, within the file's head"),
                (whole[:2000], f"{short}: key "),
                (whole[:-1], f"{short}: it ends at offset {len(whole) - 1}, and te"),
                (b"GGUF\3" + bytes(19), "the file is a vocabulary and has no weights")):
            bad.write_bytes(content)
            said = realm("run", "-m", bad, "hi", status=1)
            assert said.startswith(f"realm run: {bad}: {told}"), said


def quantize_tells_what_came_of_it():
    with folder() as path:
        done = subprocess.run([REALM, "quantize", MODEL, f"{path}/q4.gguf", "Q4_0"], text=True,
                              capture_output=True, timeout=120, check=True)
        size = os.path.getsize(f"{path}/q4.gguf") / 1e6
        assert done.stdout == "", done.stdout
        warning, made = done.stderr.splitlines()
        assert warning.startswith(f"realm quantize: {MODEL} is quantised already (Q8_0), "), warning
        assert made == f"{path}/q4.gguf: {size:.1f} MB, of 4.8 MB", made


def quantize_warns_of_a_second_loss_alone():
    with folder() as path:
        for source, to in ((MODEL, "F16"), (MODEL, "Q8_0"), (f"{path}/F16", "Q4_0")):
            done = subprocess.run([REALM, "quantize", source, f"{path}/{to}", to], text=True,
                                  capture_output=True, timeout=120, check=True)
            assert "already" not in done.stderr, (source, to, done.stderr)


def quantize_shows_how_far_it_is():
    with folder() as path:
        ours, theirs = pty.openpty()
        p = subprocess.Popen([REALM, "quantize", MODEL, f"{path}/q4.gguf", "Q4_0"], stderr=theirs)
        os.close(theirs)
        said = b""
        try:
            while more := os.read(ours, 4096):
                said += more
        except OSError:  # how Linux says that the other side is closed
            pass
        os.close(ours)
        assert p.wait(120) == 0
        *shown, last = said.decode().split("\r\033[K")
        percents = [int(line.removeprefix("quantizing ").removesuffix(" %")) for line in shown[1:]]
        assert len(percents) > 5 and percents == sorted(percents) and percents[-1] > 50, said
        assert last.startswith(f"{path}/q4.gguf: "), said


def pull_says_how_models_are_named():
    said = realm("pull", "https://huggingface.co/Qwen/Qwen2.5-0.5B-Instruct-GGUF", status=2)
    assert "OWNER/NAME in place of an address" in said, said
    assert "'llama3.2' is no OWNER/NAME, as " in realm("pull", "llama3.2:1b", status=2)


CASES = [doctor_measures_in_seconds, doctor_expects_what_it_measured, doctor_speaks_to_people,
         doctor_warns, doctor_knows_what_it_does_not_know, bench_has_tokens_before,
         bench_wants_something_to_measure, bench_counts_one_thing_as_one,
         bench_compares_in_turns, bench_says_why_it_cannot_compare, score_of_a_file_is_a_perplexity,
         score_names_what_is_wrong, run_names_a_guest_that_is_none,
         run_knows_a_model_from_a_prompt, run_names_an_option_as_it_is_written,
         serve_tells_a_person_where_to_begin, help_of_each_command,
         commands_of_other_programs_are_known, files_are_named_with_their_folders,
         damaged_files_are_told_of_with_their_paths, quantize_tells_what_came_of_it,
         quantize_warns_of_a_second_loss_alone,
         quantize_shows_how_far_it_is, limits_are_all_there,
         limits_of_the_configuration_are_its_defaults, limits_are_told_to_people,
         pull_says_how_models_are_named]


def main():
    failed = 0
    for number, case in enumerate(CASES, 1):
        good = True
        try:
            case()
        except Exception:
            good = False
            print("# " + traceback.format_exc().replace("\n", "\n# "))
        failed += not good
        print("ok" if good else "not ok", number, "-", case.__name__.replace("_", " "), flush=True)
    print(f"1..{len(CASES)}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
