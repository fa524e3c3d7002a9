"""Judges SPF with pyspf for the tests: a JSON list of orders on standard input, a list of lists of answers on output.

{"zone": {name: {type: [value, ...]}}, "failing": [name, ...], "cases": [{"client", "helo", "sender"}, ...]}
-> [{"result": "pass" ..., "explanation": text or null, "reason": why a permerror or temperror}, ...]

It asks nobody: DNS is the zone. A TXT value is a record's whole text as Latin-1, a name is without its last dot. A name
that is not in the zone does not exist; one in "failing" never answers.
"""
import ipaddress
import json
import sys

import spf

order = {}


def lookup(name, qtype, strict=True, timeout=None):
    name = name.rstrip(".").lower()
    if name in order["failing"]:
        raise spf.TempError("DNS timeout")
    found = []
    for value in order["zone"].get(name, {}).get(qtype, []):
        if qtype == "TXT":
            value = (value.encode("latin-1"),)
        elif qtype == "MX":
            value = (10, value)
        elif qtype == "AAAA":
            value = ipaddress.ip_address(value).packed
        found.append(((name, qtype), value))
    return found


def judge(case):
    query = spf.query(i=case["client"], s=case["sender"], h=case["helo"], receiver="unknown", timeout=20, querytime=0)
    try:
        result, _, explanation = query.check()
        reason = str(query.perm_error or "")
    except Exception as error:  # a peer's traceback is an answer too
        result, explanation, reason = "crash", None, "%s: %s" % (type(error).__name__, error)
    return {"result": result, "explanation": explanation, "reason": reason}


spf.DNSLookup = lookup
answers = []
for order in json.load(sys.stdin):
    answers.append([judge(case) for case in order["cases"]])
json.dump(answers, sys.stdout)
