#!/usr/bin/env python3
"""Reads `go test -json` and tells what a person wants to see of it while it runs.

summary.py COUNTS PACKAGES < events

Prints each package's line as it ends, every skipped test with its reason, and all that a failed test wrote; writes
"tests=N failed=N skipped=N packages=N" to COUNTS and the packages' lines, the failed ones last, to PACKAGES. After a failed
package's line comes what its failed tests said first: a log may be long.
"""
import collections
import json
import re
import sys

output = collections.defaultdict(list)  # (package, test) -> its lines; test is "" for the package's own
tests = collections.Counter()
lines = {"ok": [], "FAIL": []}
why = collections.defaultdict(list)  # package -> its failed tests, each with the first that it said
SAID = re.compile(r"\s+\w+_test\.go:\d+: ")


def ended(event):
    package, test, action = event.get("Package", ""), event.get("Test", ""), event["Action"]
    wrote = output.pop((package, test), [])
    if test:
        tests[action] += 1
        if action in ("fail", "skip"):
            print("".join(wrote).replace("=== RUN   ", "--- "), end="", flush=True)
        if action == "fail":
            said = [line for line in wrote if SAID.match(line)]
            why[package] += [f"    {test}\n"] + [f"    {line.strip()[:400]}\n" for line in said[:6]]
        return
    last = next((line for line in reversed(wrote) if line.startswith(("ok", "FAIL", "?", "---"))), "")
    tests["packages"] += action == "pass" and last.startswith("ok")
    if action == "fail":
        tests["packages"] += 1
        print("".join(wrote), end="", flush=True)
        lines["FAIL"] += [f"FAIL\t{package}\t{event.get('Elapsed', 0)}s\n"] + why[package]
        return
    if last.startswith("ok"):
        lines["ok"].append(last)
    print(last.rstrip("\n"), flush=True)


for raw in sys.stdin:
    try:
        event = json.loads(raw)
    except ValueError:
        print(raw, end="", flush=True)  # the go command itself has something to say
        continue
    action = event.get("Action")
    if action == "output":
        output[event.get("Package", ""), event.get("Test", "")].append(event["Output"])
    elif action == "build-output":
        print(event["Output"], end="", flush=True)
    elif action in ("pass", "fail", "skip"):
        ended(event)

with open(sys.argv[1], "w") as f:
    ran = tests["pass"] + tests["fail"]
    f.write(f"tests={ran} failed={tests['fail']} skipped={tests['skip']} packages={tests['packages']}\n")
with open(sys.argv[2], "w") as f:
    f.writelines(lines["ok"] + lines["FAIL"])
sys.exit(1 if lines["FAIL"] or tests["fail"] else 0)
