"""`realm pull` against a server that speaks a hub's paths on 127.0.0.1; prints TAP.

    pull_test.py REALM MODEL.gguf [CASE ...]

The hub hands out a real model.  What it does wrong (cuts, lies, refuses) is set for each case; what
it was asked is kept, so that a case can look at ranges and tokens.
"""

import os
import pty
import re
import shutil
import signal
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import hub_server

REALM, MODEL, *ONLY = sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]
DATA = MODEL.read_bytes()
TOKEN = hub_server.TOKEN
NAME = "tiny-Q8_0.gguf"


class Hub(hub_server.Hub):
    def __init__(self, files=None, context=None):
        super().__init__({NAME: DATA} if files is None else files, context)


class Folder:
    """A folder, and pulls into it."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="realm-pull-"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)

    def start(self, hub, model="o/m", *options, to=True, stderr=subprocess.PIPE, **more):
        keep = {k: v for k, v in os.environ.items() if k in ("PATH", "ASAN_OPTIONS")}
        where = ["--to", str(self.path)] if to else []
        return subprocess.Popen(
            [REALM, "pull", "--hub", hub.url, *where, *options, model], text=True,
            env={**keep, "HOME": str(self.path), "no_proxy": "127.0.0.1", **more},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)

    def pull(self, hub, model="o/m", *options, **more):
        p = self.start(hub, model, *options, **more)
        out, err = p.communicate(timeout=60)
        assert TOKEN not in out + err, "the token was printed"
        return p.returncode, out, err

    def names(self):
        return sorted(p.name for p in self.path.iterdir())

    def holds(self, name=NAME, data=DATA):
        return self.names() == [name] and (self.path / name).read_bytes() == data

    def wait_for_part(self, size, name=NAME):
        part = self.path / (name + ".part")
        end = time.monotonic() + 60
        while not part.exists() or part.stat().st_size < size:
            assert time.monotonic() < end, "nothing came"
            time.sleep(0.01)
        return part


def shows(got, code, *texts):
    assert got[0] == code, got
    for text in texts:
        assert text in got[1] + got[2], (text, got)


# ---- cases ---------------------------------------------------------------------------------------


def a_whole_file_comes_and_is_there():
    with Hub() as hub, Folder() as to:
        shows(to.pull(hub), 0, NAME, "checksum right", f"realm run -m {to.path}/{NAME}",
              f"realm serve -m {to.path}/{NAME}")
        assert to.holds() and hub.ranges() == [None]
        shows(to.pull(hub, "o/m:q8_0"), 0, "there already")
        assert to.holds() and hub.ranges() == [None], hub.ranges()
        run = subprocess.run([REALM, "inspect", to.path / NAME], capture_output=True, text=True)
        assert run.returncode == 0 and "general.architecture" in run.stdout


def folders_by_default():
    with Hub() as hub, Folder() as to:
        for more, below in [({}, ".local/share/realm/models"),
                            ({"XDG_DATA_HOME": str(to.path / "x")}, "x/realm/models"),
                            ({"REALM_MODELS": str(to.path / "a b/c")}, "a b/c")]:
            got = to.pull(hub, to=False, **more)
            shows(got, 0, f"{to.path / below / NAME}" if " " not in below else
                  f"'{to.path / below / NAME}'")
            assert (to.path / below / NAME).read_bytes() == DATA


def a_cut_connection_goes_on():
    with Hub() as hub, Folder() as to:
        hub.cuts = [1000000, 1500000]
        shows(to.pull(hub), 0, "checksum right", "again in 1 s")
        assert hub.ranges() == [None, "bytes=1000000-", "bytes=2500000-"], hub.ranges()
        assert hub.asked[-1][1].get("If-Range") == '"v1"'
        assert to.holds()


def a_server_that_ignores_ranges():
    with Hub() as hub, Folder() as to:
        hub.cuts, hub.ignore_range = [1000000], True
        shows(to.pull(hub), 0, "checksum right")
        assert hub.ranges() == [None, "bytes=1000000-"] and to.holds()


def a_server_that_sends_another_range():
    with Hub() as hub, Folder() as to:
        hub.cuts, hub.lie_range = [1000000], 7
        shows(to.pull(hub), 0, "another part of the file")
        assert hub.ranges() == [None, "bytes=1000000-", None] and to.holds()


def a_new_version_is_not_mixed_with_the_old():
    with Hub() as hub, Folder() as to:
        hub.cuts = [1000000]
        shows(to.pull(hub, "o/m", "--tries", "1"), 1, "closed")
        assert (to.path / (NAME + ".part")).stat().st_size == 1000000
        other = DATA[:-1] + bytes([DATA[-1] ^ 1])
        hub.files, hub.etag = {NAME: other}, '"v2"'
        shows(to.pull(hub), 0)
        assert hub.ranges() == [None, None] and to.holds(data=other)


def an_etag_that_changed_starts_over():
    with Hub() as hub, Folder() as to:
        hub.cuts = [1000000]
        shows(to.pull(hub, "o/m", "--tries", "1"), 1)
        hub.etag = '"v2"'
        shows(to.pull(hub), 0, "goes on after 1.0 MB")
        assert hub.ranges() == [None, "bytes=1000000-"] and to.holds()


def a_damaged_part_comes_once_more():
    with Hub() as hub, Folder() as to:
        hub.cuts = [1000000]
        shows(to.pull(hub, "o/m", "--tries", "1"), 1)
        with open(to.path / (NAME + ".part"), "r+b") as part:
            part.seek(500000)
            part.write(b"damage")
        shows(to.pull(hub), 0, "once more from the start", "checksum right")
        assert hub.ranges() == [None, "bytes=1000000-", None] and to.holds()


def a_part_of_nothing_known_is_dropped():
    with Hub() as hub, Folder() as to:
        (to.path / (NAME + ".part")).write_bytes(b"x" * 2000)
        shows(to.pull(hub), 0)
        assert hub.ranges() == [None] and to.holds()


def a_wrong_checksum_is_refused():
    with Hub() as hub, Folder() as to:
        hub.lie_sha = "b" * 64
        shows(to.pull(hub), 1, NAME, "damaged")
        assert to.names() == [] and len(hub.ranges()) == 1


def git_s_own_checksum():
    with Hub() as hub, Folder() as to:
        hub.git = True
        shows(to.pull(hub), 0, "checksum right")
        assert to.holds()
    with Hub() as hub, Folder() as to:
        hub.git, hub.sent = True, {NAME: DATA[:-1] + b"?"}
        shows(to.pull(hub), 1, "damaged")
        assert to.names() == []


def wrong_sizes_are_refused():
    for lie, text in [(-10, "longer than the hub says"), (10, "closed before the end")]:
        with Hub() as hub, Folder() as to:
            hub.lie_size = lie
            shows(to.pull(hub, "o/m", "--tries", "1"), 1, text)
            assert NAME not in to.names()


def what_is_no_gguf_is_refused():
    page = b"<html>sign in</html>" * 100
    with Hub({NAME: page}) as hub, Folder() as to:
        shows(to.pull(hub), 1, NAME, "no GGUF file")
        assert to.names() == []
    broken = DATA[:8] + struct.pack("<Q", 1 << 60) + DATA[16:]
    with Hub({NAME: broken}) as hub, Folder() as to:
        shows(to.pull(hub), 1, NAME, "no GGUF file")
        assert to.names() == []


def another_file_of_that_name_stays():
    with Hub() as hub, Folder() as to:
        for mine in [b"mine", DATA[:-1] + b"?"]:
            (to.path / NAME).write_bytes(mine)
            shows(to.pull(hub), 1, "there already", "--to")
            assert to.holds(data=mine) and hub.ranges() == []


def refusals_are_not_repeated():
    for code, more, text in [(404, {}, "does not have it"), (401, {}, "set HF_TOKEN"),
                             (401, {"HF_TOKEN": TOKEN}, "does not take the token"),
                             (403, {"HF_TOKEN": TOKEN}, "accept the model's terms")]:
        with Hub() as hub, Folder() as to:
            hub.refuse = [code]
            shows(to.pull(hub, **more), 1, "o/m: ", text)
            assert len(hub.asked) == 1
    with Hub() as hub, Folder() as to:
        hub.refuse = []
        shows(to.pull(hub, "o/other"), 1, "404")
        shows(to.pull(hub, "o/m", "--revision", "v9"), 1, "404")


def a_busy_hub_is_asked_again():
    with Hub() as hub, Folder() as to:
        hub.refuse = [503, (429, [("Retry-After", "3")])]
        start = time.monotonic()
        shows(to.pull(hub), 0, "status 503; again in 1 s", "status 429; again in 3 s")
        assert time.monotonic() - start > 3.9 and to.holds()
    with Hub() as hub, Folder() as to:
        hub.refuse = [(429, [("Retry-After", "3600")])]
        shows(to.pull(hub), 1, "3600 s")
        assert len(hub.asked) == 1


def nobody_there():
    with Folder() as to:
        with Hub() as hub:
            pass
        shows(to.pull(hub, "o/m", "--tries", "2"), 1, "the connection failed", "again in 1 s")


def a_gated_model_with_a_token():
    with Hub() as hub, Folder() as to:
        hub.gated = True
        shows(to.pull(hub), 1, "HF_TOKEN")
        shows(to.pull(hub, HF_TOKEN=f" {TOKEN}\n"), 0)
        assert to.holds() and hub.tokens()[1:] == ["Bearer " + TOKEN] * 2
        shows(to.pull(hub, HF_TOKEN="a\nX-Evil: b"), 1, "HF_TOKEN is no token")


def the_token_follows_no_redirect():
    with Hub() as hub, Hub() as cdn, Folder() as to:
        hub.gated, hub.redirect, cdn.cuts = True, cdn.url, [1000000]
        shows(to.pull(hub, HF_TOKEN=TOKEN), 0)
        assert to.holds() and cdn.ranges() == [None, "bytes=1000000-"]
        assert set(hub.tokens()) == {"Bearer " + TOKEN} and set(cdn.tokens()) == {None}


def redirects_have_an_end():
    with Hub() as hub, Folder() as to:
        hub.redirect = hub.url
        shows(to.pull(hub), 1, "over 10 times")
        assert len(hub.asked) == 12, len(hub.asked)
    with Hub() as hub, Folder() as to:
        hub.redirect = "file:///etc"
        shows(to.pull(hub), 1, "not followed")
        assert to.names() == []


def certificates_are_checked():
    with Folder() as to:
        key, cert = to.path / "key", to.path / "cert"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                   "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                   "-keyout", key, "-out", cert]
        if not shutil.which("openssl"):
            return "no openssl"
        subprocess.run(command, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        with Hub(context=context) as safe, Hub() as hub:
            shows(to.pull(safe, HF_TOKEN=TOKEN), 1, "certificate")
            hub.redirect = safe.url
            shows(to.pull(hub), 1, "certificate")
            assert safe.asked == [] and to.names() == ["cert", "key"]


def progress_on_a_terminal():
    with Hub() as hub, Folder() as to:
        hub.pause = 0.03
        ours, theirs = pty.openpty()
        p = to.start(hub, stderr=theirs)
        os.close(theirs)
        said = b""
        try:
            while more := os.read(ours, 4096):
                said += more
        except OSError:  # how Linux says that the other side is closed
            pass
        os.close(ours)
        assert p.wait(60) == 0 and to.holds()
        lines = said.decode().split("\r\033[K")
        shown = re.compile(NAME + r" +(\d+) % of 4\.8 MB, \d+\.\d MB/s, 0:\d\d left")
        percents = [int(m[1]) for m in map(shown.fullmatch, lines) if m]
        assert len(percents) > 2 and percents == sorted(percents), said
        assert lines[-1] == "", said


def a_listing_in_pages():
    files = {f"m-Q{i}_0.gguf": DATA for i in (2, 3, 5)} | {NAME: DATA}
    with Hub(files) as hub, Folder() as to:
        hub.page_entries = 2
        shows(to.pull(hub, HF_TOKEN=TOKEN), 0)
        assert to.holds() and len(hub.asked) == 4
    with Hub(files) as hub, Hub() as other, Folder() as to:
        hub.page_entries, hub.next_host = 2, other.url
        shows(to.pull(hub, HF_TOKEN=TOKEN), 1, "another host")
        assert other.asked == [] and to.names() == []


def listings_that_are_none():
    for body in [b"", b"{}", b"[{]", b"[1]", b'[{"type":"file","path":"a.gguf"}]', b"[" * 5000,
                 b'[{"type":"file","path":"a.gguf","size":-1}]', b"[" + b" " * (9 << 20) + b"]"]:
        with Hub() as hub, Folder() as to:
            hub.tree_body = body
            shows(to.pull(hub), 1, "o/m: ")
            assert to.names() == [] and len(hub.asked) == 1


def split_models():
    parts = {f"Q8_0/t-{i:05}-of-00003.gguf": DATA for i in (1, 2, 3)}
    with Hub(parts | {"t-IQ2_XS.gguf": DATA}) as hub, Folder() as to:
        for wish in ["", ":q8_0", ":t-00002-of-00003.gguf", ":Q8_0/t-00001-of-00003.gguf"]:
            shows(to.pull(hub, "o/m" + wish), 0, f"realm run -m {to.path}/t-00001-of-00003.gguf")
        assert to.names() == [f"t-{i:05}-of-00003.gguf" for i in (1, 2, 3)]
        assert len(hub.ranges()) == 3
    del parts["Q8_0/t-00002-of-00003.gguf"]
    with Hub(parts) as hub, Folder() as to:
        shows(to.pull(hub), 1, "part 2 of 3")
        assert to.names() == []


def the_choice():
    files = {f"m-{q}.gguf": DATA for q in ("IQ2_XS", "Q4_0", "Q8_0", "q4_k_m", "Q5_K_M", "F16")}
    files |= {"mmproj-m-F32.gguf": DATA, "m.bin": DATA}
    for wish, name in [("", "m-q4_k_m.gguf"), (":Q4_k_M", "m-q4_k_m.gguf"), (":f16", "m-F16.gguf"),
                       (":m-IQ2_XS.gguf", "m-IQ2_XS.gguf")]:
        with Hub(files) as hub, Folder() as to:
            got = to.pull(hub, "o/m" + wish)
            shows(got, 0)
            assert to.holds(name), to.names()
            assert ("does not run IQ2_XS" in got[2]) == (name == "m-IQ2_XS.gguf")
    with Hub(files) as hub, Folder() as to:
        shows(to.pull(hub, "o/m:Q3_K"), 1, "has no Q3_K", "m-q4_k_m.gguf", "m-F16.gguf", "4.8 MB")
        hub.files = files | {"n-Q4_K_M.gguf": DATA}
        shows(to.pull(hub), 1, "2 models as Q4_K_M", "n-Q4_K_M.gguf", "m-q4_k_m.gguf")
        hub.files = {"m-IQ3_M.gguf": DATA}
        shows(to.pull(hub), 1, "no file's name says", "m-IQ3_M.gguf")
        hub.files = {"m.bin": DATA}
        shows(to.pull(hub), 1, "no model in GGUF files")
        assert to.names() == [] and hub.ranges() == []


def names_that_leave_the_folder():
    for path in ["../evil-Q8_0.gguf", "/evil-Q8_0.gguf", "a/../../evil-Q8_0.gguf",
                 ".evil-Q8_0.gguf", "a//Q8_0.gguf", "./Q8_0.gguf", "evil\n-Q8_0.gguf",
                 "..\\evil-Q8_0.gguf", "e" * 300 + "-Q8_0.gguf"]:
        with Hub({path: DATA}) as hub, Folder() as to:
            inner = to.path / "inner"
            inner.mkdir()
            got = to.pull(hub, "o/m", "--to", str(inner))
            shows(got, 1, "no name for a file")
            assert "\n-Q8" not in got[2]
            assert to.names() == ["inner"] and list(inner.iterdir()) == [] and hub.ranges() == []


def a_link_in_place_of_the_part():
    with Hub() as hub, Folder() as to:
        victim = to.path / "victim"
        victim.write_bytes(b"precious")
        (to.path / (NAME + ".part")).symlink_to(victim)
        shows(to.pull(hub), 1, NAME)
        assert victim.read_bytes() == b"precious"


def two_at_once():
    with Hub() as hub, Folder() as to:
        hub.held_at = 3500000
        first = to.start(hub)
        to.wait_for_part(500000)
        shows(to.pull(hub), 1, "fetched by another")
        hub.go.set()
        assert first.wait(60) == 0 and to.holds() and len(hub.ranges()) == 1


def many_at_once_end_with_one_whole_file():
    with Hub() as hub, Folder() as to:
        crowd = [to.start(hub) for _ in range(6)]
        codes = [p.wait(60) for p in crowd]
        said = [p.communicate()[1] for p in crowd]
        assert 0 in codes and to.holds(), (codes, said)
        assert all(c == 0 or "fetched by another" in s for c, s in zip(codes, said)), said


def killed_in_the_middle_and_started_again():
    with Hub() as hub, Folder() as to:
        hub.held_at = 3500000
        p = to.start(hub)
        part = to.wait_for_part(1000000)
        p.kill()
        p.communicate()
        size = part.stat().st_size
        assert size < len(DATA)
        hub.held_at = None
        shows(to.pull(hub), 0, "goes on after")
        assert hub.ranges() == [None, f"bytes={size}-"] and to.holds()


def killed_before_it_got_its_name():
    with Hub() as hub, Folder() as to:
        hub.held_at = 3500000
        p = to.start(hub)
        part = to.wait_for_part(1000000)
        p.kill()
        p.communicate()
        part.write_bytes(DATA)
        shows(to.pull(hub), 0, "checksum right")
        assert len(hub.ranges()) == 1 and to.holds()


def interrupted():
    for number in signal.SIGINT, signal.SIGTERM:
        with Hub() as hub, Folder() as to:
            hub.held_at = 3500000
            p = to.start(hub)
            to.wait_for_part(1000000)
            p.send_signal(number)
            start = time.monotonic()
            err = p.communicate(timeout=30)[1]
            assert p.returncode == 1 and "the same command goes on" in err, err
            assert time.monotonic() - start < 25
            assert to.names() == [NAME + ".part", NAME + ".part.tag"]
            hub.held_at = None
            shows(to.pull(hub), 0, "goes on after")
            assert to.holds()


def a_full_disk():
    """On a file system of 3 MB, where we may mount one."""
    with Hub() as hub, Folder() as to:
        disk = to.path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
            return "no file system to fill"
        try:
            shows(to.pull(hub, "o/m", "--to", str(disk)), 1, "has room for 3.1 MB only")
            assert hub.ranges() == [] and list(disk.iterdir()) == []
            hub.held_at = 3500000
            subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
            p = to.start(hub, "o/m", "--to", str(disk))
            Folder.wait_for_part(type("", (), {"path": disk})(), 500000)
            (disk / "filler").write_bytes(bytes(4 << 20))
            hub.go.set()
            err = p.communicate(timeout=60)[1]
            assert p.returncode == 1 and "No space left" in err and "kept" in err, err
            (disk / "filler").unlink()
            shows(to.pull(hub, "o/m", "--to", str(disk)), 0, "goes on after")
            assert (disk / NAME).read_bytes() == DATA
        finally:
            subprocess.run(["umount", str(disk)], check=True)


def wrong_usage():
    with Hub() as hub, Folder() as to:
        for model in ["m", "o/", "/m", "o/m/x", "../m", "o/..", "o m/x", "o/m:", "", "o/m?x"]:
            shows(to.pull(hub, model), 2, "realm pull: ")
        for url in ["ftp://x", "huggingface", "http://user:secret@h", "http://h/?q", "file:///t",
                    ""]:
            got = to.pull(hub, "o/m", "--hub", url)
            shows(got, 2, "realm pull: ")
            assert "secret" not in got[2]
        assert hub.asked == []


def main():
    cases = [a_whole_file_comes_and_is_there, folders_by_default, a_cut_connection_goes_on,
             a_server_that_ignores_ranges, a_server_that_sends_another_range,
             a_new_version_is_not_mixed_with_the_old, an_etag_that_changed_starts_over,
             a_damaged_part_comes_once_more, a_part_of_nothing_known_is_dropped,
             a_wrong_checksum_is_refused, git_s_own_checksum, wrong_sizes_are_refused,
             what_is_no_gguf_is_refused, another_file_of_that_name_stays, refusals_are_not_repeated,
             a_busy_hub_is_asked_again, nobody_there, a_gated_model_with_a_token,
             the_token_follows_no_redirect, redirects_have_an_end, certificates_are_checked,
             progress_on_a_terminal, a_listing_in_pages,
             listings_that_are_none, split_models, the_choice, names_that_leave_the_folder,
             a_link_in_place_of_the_part, two_at_once, many_at_once_end_with_one_whole_file,
             killed_in_the_middle_and_started_again, killed_before_it_got_its_name, interrupted,
             a_full_disk, wrong_usage]
    cases = [case for case in cases if not ONLY or case.__name__ in ONLY]
    failed = 0
    print(f"1..{len(cases)}")
    for n, case in enumerate(cases, 1):
        note = ""
        try:
            skipped = case()
            note = f" # SKIP {skipped}" if skipped else ""
            good = True
        except Exception:
            good = False
            traceback.print_exc()
        failed += not good
        print(f"{'ok' if good else 'not ok'} {n} - {case.__name__}{note}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
