"""Signs and verifies with dkimpy for the tests: one JSON request on standard input, one JSON answer on standard output.

verify: {"message": base64, "records": {name: text}}            -> {"results": [true | false | "error text", ...]}
sign:   {"message": base64, "domain", "selector", "key": PEM or base64 seed, "algorithm", "canonicalization": "a/b",
         "headers": [names] or null, "identity": text or null}   -> {"field": the DKIM-Signature field, CRLF and all}
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
    results = []
    for index in range(len([h for h in dkim.rfc822_parse(message)[0] if h[0].lower() == b"dkim-signature"])):
        try:
            results.append(dkim.DKIM(message, minkey=1024).verify(idx=index, dnsfunc=answer))
        except dkim.DKIMException as error:
            results.append(str(error))
    return {"results": results}


def sign(request):
    header, _, body = request["canonicalization"].partition("/")
    names = request.get("headers")
    identity = request.get("identity")
    field = dkim.DKIM(base64.b64decode(request["message"])).sign(
        request["selector"].encode(), request["domain"].encode(), request["key"].encode(),
        signature_algorithm=request["algorithm"].encode(), canonicalize=(header.encode(), body.encode()),
        include_headers=[name.encode() for name in names] if names else None,
        identity=identity.encode() if identity else None)
    return {"field": field.decode()}


request = json.load(sys.stdin)
json.dump({"sign": sign, "verify": verify}[request["do"]](request), sys.stdout)
