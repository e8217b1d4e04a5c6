#!/usr/bin/env python3
"""Checks a Strongroom audit directory; needs nothing but Python 3.

usage: audit-verify.py DIRECTORY [ANCHOR_SEQ ANCHOR_HASH]

Prints one JSON object. Exit code: 0 intact, 1 broken, 2 segments missing,
3 cannot check. See audit.md for the format.
"""
import hashlib
import json
import os
import re
import sys

MAX_BODY = 2 * 1024 * 1024
BODY = re.compile(
    rb'\{"v":1,"seq":(0|[1-9][0-9]*),"prev":"([0-9a-f]{64})",'
    rb'"boot":"([0-9A-Za-z-]*)","mono":(0|[1-9][0-9]*),"event":(\{[^\n]*\})\}')
TABLE = list(range(256))
for _ in range(8):
    TABLE = [(n >> 1) ^ (0x82F63B78 if n & 1 else 0) for n in TABLE]
Broken = type("Broken", (Exception,), {})


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def frames(file):
    """Yields (offset, body), or (offset, name of the fault) and ends."""
    offset = 0
    while head := file.read(4):
        size = int.from_bytes(head, "big")
        if len(head) == 4 and not 1 <= size <= MAX_BODY:
            return (yield offset, "length")
        rest = file.read(size + 4) if len(head) == 4 else b""
        if len(head) < 4 or len(rest) < size + 4:
            return (yield offset, "incomplete-frame")
        if crc32c(rest[:-4]) != int.from_bytes(rest[-4:], "big"):
            return (yield offset, "checksum")
        yield offset, rest[:-4]
        offset += size + 8


def verify(directory, anchor, report):
    with open(os.path.join(directory, "origin"), "rb") as file:
        origin = file.read().rstrip(b"\n")
    report["origin"] = origin.decode()
    names = sorted(n for n in os.listdir(directory) if re.fullmatch(r"audit-[0-9]{20}\.log", n))
    if not names:
        raise OSError("no segments")
    seq, prev, boot, mono, intents = 1, hashlib.sha256(origin).hexdigest(), None, 0, set()
    for name in names:
        first, end = int(name[6:26]), 0

        def fail(why, at):
            raise Broken(dict(result="broken", segment=name, offset=at, seq=seq, why=why))

        if first < seq:
            fail("segment-name", 0)
        if first > seq:
            report["missing"].append({"from": seq, "to": first - 1})
            seq, prev, boot = first, None, None
        report["segments"] += 1
        with open(os.path.join(directory, name), "rb") as file:
            for offset, body in frames(file):
                if isinstance(body, str):
                    fail(body, offset)
                match = BODY.fullmatch(body)
                if not match or int(match[1]) >= 2**64 or int(match[4]) >= 2**64:
                    fail("form", offset)
                if int(match[1]) != seq:
                    fail("sequence", offset)
                if prev is not None and match[2].decode() != prev:
                    fail("chain", offset)
                if match[3] == boot and int(match[4]) < mono:
                    fail("clock", offset)
                try:
                    data = json.loads(match[5]).get("additionalEventData") or {}
                except ValueError:
                    fail("form", offset)
                boot, mono = match[3], int(match[4])
                prev = hashlib.sha256(b"\0" + body).hexdigest()
                if anchor and anchor[0] == seq and anchor[1] != prev:
                    fail("anchor", offset)
                phase = (data.get("rotation") or {}).get("phase")
                if phase and phase != "stored":
                    move = intents.add if phase == "started" else intents.discard
                    move(data.get("correlationId"))
                report["open_intents"] = len(intents)
                report["first_seq"] = report["first_seq"] or seq
                report["last_seq"], report["last_hash"] = seq, prev
                report["records"] += 1
                seq, end = seq + 1, offset + len(body) + 8
    if anchor and anchor[0] >= seq:
        fail("cut-off", end)
    return {"result": "incomplete" if report["missing"] else "intact"}


def main():
    if len(sys.argv) not in (2, 4):
        sys.exit(__doc__)
    anchor = (int(sys.argv[2]), sys.argv[3].lower()) if len(sys.argv) == 4 else None
    report = dict.fromkeys(("origin", "first_seq", "last_seq", "last_hash"))
    report.update(records=0, segments=0, missing=[], open_intents=0)
    try:
        outcome = verify(sys.argv[1], anchor, report)
    except Broken as broken:
        outcome = broken.args[0]
    except (OSError, ValueError) as error:
        outcome = {"result": "cannot-check", "why": str(error)}
    print(json.dumps({**outcome, **report}))
    sys.exit(["intact", "broken", "incomplete", "cannot-check"].index(outcome["result"]))


main()
