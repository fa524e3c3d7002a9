"""Signs and verifies with dkimpy for the tests: a JSON list of requests on standard input, a list of answers on output.

{"verify": {"message": base64, "records": {name: text}}}  -> {"results": [true | false | "error text", ...]}
{"sign": {"message": base64, "domain", "selector", "key": PEM or base64 seed, "algorithm", "canonicalization": "a/b",
          "headers": [names] or null}}                     -> {"field": the DKIM-Signature field, CRLF and all}
"""
import base64
import json
import sys

import dkim


def verify(request):
    records = {name.lower(): text.encode() for name, text in request["records"].items()}

    def answer(name, timeout=5):
        return records.get((name.decode() if isinstance(name, bytes) else name).rstrip(".").lower())

    message = base64.b64decode(request["message"])
    signatures = [field for field in dkim.rfc822_parse(message)[0] if field[0].lower() == b"dkim-signature"]
    results = []
    for index in range(len(signatures)):
        try:
            results.append(dkim.DKIM(message, minkey=1024).verify(idx=index, dnsfunc=answer))
        except dkim.DKIMException as error:
            results.append(str(error))
    return {"results": results}


def sign(request):
    header, _, body = request["canonicalization"].partition("/")
    names = request.get("headers")
    field = dkim.DKIM(base64.b64decode(request["message"])).sign(
        request["selector"].encode(), request["domain"].encode(), request["key"].encode(),
        signature_algorithm=request["algorithm"].encode(), canonicalize=(header.encode(), body.encode()),
        include_headers=[name.encode() for name in names] if names else None)
    return {"field": field.decode()}


answers = []
for order in json.load(sys.stdin):
    if order.get("sign"):
        answers.append(sign(order["sign"]))
    else:
        answers.append(verify(order["verify"]))
json.dump(answers, sys.stdout)
