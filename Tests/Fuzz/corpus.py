#!/usr/bin/env python3
"""Writes the seed corpora and dictionaries of the fuzz targets: corpus.py FOLDER. Source: Tests/Fixtures, the shipped
configuration, and the few texts below that no fixture holds. An input's layout is what its target says."""
import glob, hashlib, json, os, re, sys

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(os.path.dirname(here))
fixtures = os.path.join(root, "Tests", "Fixtures")
out = sys.argv[1]
# In the order of `all`.
TARGETS = ("dkim keys body authres author message names dns zone config pem milter log "
           "spf spfjudge dmarc dmarcjudge psl policy cache snapshot expression rules explain maillog "
           "records archive storereply").split()

def read(path):
    with open(path, "rb") as file:
        return file.read()

def strings(value):
    """All strings of a JSON value, keys too."""
    if isinstance(value, str):
        yield value.encode()
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key.encode()
            yield from strings(item)

messages = [read(path) for path in sorted(glob.glob(fixtures + "/**/*.eml", recursive=True))]
texts = sorted({text for path in sorted(glob.glob(fixtures + "/**/*.json", recursive=True))
                for text in strings(json.loads(read(path)))})
records = [text for text in texts if b"p=" in text and b"DKIM1" in text and b"\0" not in text]
toml = read(os.path.join(root, "contrib", "postern.toml"))
# The sample's keys are comments; here they count.
keys = b"\n".join(line[1:] if line[:1] == b"#" and line[1:2].isalpha() else line for line in toml.split(b"\n"))

seeds = {target: [b""] for target in TARGETS}
for message in messages:
    for record in records + [b""]:
        seeds["dkim"].append(b"\0\7" + (record + b"\0" if record else b"") + b"\0" + message)
    seeds["message"] += [message, message.replace(b"\r\n", b"\n"), b"From ann Thu Jan  1 00:00:00 1970\n" + message]
    head, _, body = message.replace(b"\r\n", b"\n").partition(b"\n\n")
    seeds["body"] += [bytes([n, n]) + body.replace(b"\n", b"\r\n") for n in (0, 2, 3, 6, 255)]
    fields = head.replace(b"\n ", b"\r\n ").replace(b"\n\t", b"\r\n\t").split(b"\n")
    for field in fields:
        name, _, value = field.partition(b":")
        if name.lower() == b"dkim-signature":
            seeds["keys"].append(value)
        if name.lower() in (b"from", b"to", b"cc"):
            seeds["author"].append(value)
seeds["keys"] += records + [text.partition(b"p=")[2] for text in records]
seeds["keys"] += [b"v=1; a=ed25519-sha256; c=relaxed; d=a.test; s=x; t=1; x=2; l=5; i=@b.a.test; q=dns/txt; z=A:b; "
                  b"h=from; bh=AAAA; b=AAAA", b"0\x0c0\r\x06\t*\x86H\x86\xf7\r\x01\x01\x01\x05\0\x03\x01\0",
                  b"\x30\x0a\x02\x04\x00\xff\xff\xfd\x02\x02\x01\x01"]
for text in texts:
    if b"Authentication-Results:" in text:
        seeds["authres"].append(text.partition(b":")[2])
    if b"@" in text:
        seeds["author"].append(text)
    if len(text) < 300 and b"." in text and b" " not in text:
        seeds["names"].append(text)
    if b"\n" in text:
        seeds["body"].append(b"\5\0" + text)
        seeds["message"].append(text)
    seeds["milter"].append(text[:200] + b"\0\2\0\0\x19\xc0\0\2\1")
    seeds["log"].append(b"\x3f" + text[:80] + b"\0mx.example.com\0" + text[:200] + b"\0<a>\0b\\\0" + text)
seeds["authres"] += [b" example.com 1 (c); dkim=pass reason=\"x\" header.i=@a.example policy.x=\"y z\"; spf/1=fail",
                     b" =?utf-8?q?b=C3=BCcher=2Eexample?=; none", b" (x (y\\)) z) \"example.com\"; none"]
seeds["author"] += [b" Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", b" \"a b\"@c.test, d@e.test",
                    b" A Group: Ed Jones <joe@where.test>,\r\n john@one.test;", b" <@a.test,@b.test:c@d.test>",
                    " J\u00f6e <jd\u00f6e@b\u00fccher.example>".encode()]
seeds["names"] += [b"192.0.2.1", b"2001:db8::1", b"::ffff:192.0.2.1", b"10.0.0.0/8", b"2001:db8::/32", b"*@example.com",
                   b"unix:/run/postern/dns.sock", b"inet:8891@localhost", b"inet:[::1]:25", b"udp:127.0.0.1:53",
                   "b\u00fccher.example".encode(), b"xn--bcher-kva.example", b"\3www\7example\3com", b"a\\.b.c."]

def name(text):
    return b"".join(bytes([len(label)]) + label for label in text.split(b".") if label) + b"\0"

def rr(owner, kind, data, ttl=300):
    return owner + kind.to_bytes(2, "big") + b"\0\1" + ttl.to_bytes(4, "big") + len(data).to_bytes(2, "big") + data

def dns(flags, question, kind, *sections):
    head = b"\0\7" + flags.to_bytes(2, "big") + b"\0\1" + b"".join(len(s).to_bytes(2, "big") for s in sections)
    return b"\1" + head + name(question) + kind.to_bytes(2, "big") + b"\0\1" + b"".join(b"".join(s) for s in sections)

here_ = b"\xc0\x0c"
soa = rr(b"\xc0\x0e", 6, name(b"ns.test") + name(b"root.test") + bytes(20))
opt = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0"
seeds["dns"] += [
    dns(0x0120, b"a.test", 16, [], [], [opt]), dns(0x8180, b"a.test", 16, [rr(here_, 16, b"\3abc\2de")], [], [opt]),
    dns(0x8180, b"a.test", 1, [rr(here_, 5, b"\1b\xc0\x0e"), rr(b"\1b\xc0\x0e", 1, b"\xc0\0\2\1")], [], []),
    dns(0x8183, b"a.test", 28, [], [soa], []), dns(0x8180, b"a.test", 15, [rr(here_, 15, b"\0\x0a\2mx" + here_)], [], []),
    dns(0x8180, b"a.test", 6, [soa], [], []), dns(0x8180, b"1.2.0.192", 12, [rr(here_, 12, name(b"a.test"))], [], []),
    dns(0x8180, b"a.test", 28, [rr(here_, 28, bytes(16))], [rr(b"\xc0\x0e", 2, name(b"ns.test"))], [opt]),
    dns(0x8182, b"a.test", 1, [], [], []), dns(0x0100, b"a.test", 252, [], [], []), dns(0x2800, b"a.test", 1, [], [], [])]
zone = b"""$ORIGIN example.com.
$TTL 300
@ IN SOA ns root ( 1 2 3 4 ; comment
  5 )
@ NS ns
@ MX 10 mx
ns A 192.0.2.1
mx AAAA 2001:db8::1
_dmarc TXT "v=DMARC1; p=none" "more"
www CNAME mx
*.wild TXT wild\\032card
x._domainkey 60 IN TXT ( "v=DKIM1; p="
  "AAAA" )
"""
seeds["zone"] += [zone] + [line + b"\n" for line in zone.split(b"\n")]
seeds["config"] += [toml, keys] + [b"[" + table for table in keys.split(b"\n[")[1:]]
# Keys made for this; the second and third are no keys that may sign.
seeds["pem"] += [
    b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
    b"-----END PRIVATE KEY-----\n",
    b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n"
    b"-----END RSA PRIVATE KEY-----\n",
    b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
    b"-----END PUBLIC KEY-----\n"]

# Lines of the RFC 7208 suite, which is YAML: `SPF: v=spf1 ...`, `TXT: v=spf1 ...` and lists with the same in quotes.
suite = read(os.path.join(fixtures, "spf-rfc7208", "rfc7208-tests.yml")).split(b"\n")
spf = sorted({b"v=spf1" + line.partition(b"v=spf1")[2].strip(b" '\"]}") for line in suite if b"v=spf1" in line})
seeds["spf"] += spf + [text[7:] for text in spf]

def judged(who, *entries):
    return b"\2" + b"\0".join(who) + b"\0" + b"\0".join(entries) + b"\0\0"

ann = [b"ann@a.test", b"mx.a.test", b"192.0.2.1"]
for text in spf:
    for who in (ann, [b"", b"a.test", b"2001:db8::1"]):
        seeds["spfjudge"].append(judged(
            who, b"Ta.test " + text, b"T* v=spf1 -all", b"A* 192.0.2.1,192.0.2.2", b"6* 2001:db8::1", b"M* mx.a.test",
            b"P* mx.a.test,b.test", b"Nnone.test", b"Fdown.test"))
seeds["spfjudge"] += [
    judged(ann, b"T* v=spf1 include:a.%{d} include:b.%{d} ?all"), judged(ann, b"T* v=spf1 redirect=%{d2}.x.%{d}"),
    judged(ann, b"Ta.test v=spf1 exists:%{p}.%{ir}.%{v}.%{h}.b.test mx ptr -all exp=why.test", b"A* 192.0.2.9",
           b"Twhy.test %{s} %{L} %{o} %{c} %{r} %{t} may not", b"P* mx.a.test", b"Ma.test " + b"m.test," * 11)]
policies = [text for text in texts if text.startswith(b"v=DMARC1")]
policies += [b"v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; aspf=r; psd=y; t=y; fo=1:d:s; "
             b"rua=mailto:a@b.test!10m,https://c.test/%20; ruf=mailto:d@e.test; pct=50; rf=afrf; ri=86400; X=y"]
seeds["dmarc"] += policies + [text[9:] for text in policies]
for text in policies:
    for choice, more in ((b"\0", b"T_dmarc.test v=DMARC1; psd=y; p=none"), (b"\1", b"F_dmarc.test")):
        seeds["dmarcjudge"].append(
            choice + b" Ann <ann@b.a.test>, eve@c.test\0pa.test\0pb.a.test\0tx.a.test\0fc.test\0\0" + b"\0".join(
                [b"T_dmarc.a.test " + text, b"T_dmarc.b.a.test v=DMARC1; p=none; psd=n", b"Eb.a.test", more, b"\0"]))
psl = read(glob.glob(fixtures + "/psl/*.dat")[0]).split(b"\n")
seeds["psl"] += [b"\n".join(psl[start:start + 40]) for start in range(0, len(psl), 200)]
seeds["psl"].append(b"// a comment\ncom\n*.ck\n!www.ck\na.b.ck tail\n" + "\u516c\u53f8.cn\n".encode())
request = (b"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=SMTP\nhelo_name=some.domain.tld\n"
           b"queue_id=8045F2AB23\nsender=foo@bar.tld\nrecipient=bar@foo.tld\nrecipient_count=0\n"
           b"client_address=192.0.2.4\nclient_name=another.domain.tld\nreverse_client_name=another.domain.tld\n"
           b"instance=123.456.7\nsasl_method=plain\nsasl_username=you\nsasl_sender=\nsize=12345\n")
tail = (b"ccert_subject=solaris9.porcupine.org\nccert_issuer=Wietse+20Venema\nccert_fingerprint=C2:9D\n"
        b"encryption_protocol=TLSv1/SSLv3\nencryption_cipher=DHE-RSA-AES256-SHA\nencryption_keysize=256\n"
        b"etrn_domain=\nstress=\nclient_port=25\npolicy_context=submission\nserver_address=192.0.2.1\n"
        b"server_port=54321\ncompatibility_level=3.6\nmail_version=3.8.0\ntls_sni=\nnew=1\n")
seeds["policy"] += [b"\0\0" + request + b"\n", b"\7\2" + request + tail + b"\n",
                    b"\3\1" + request.replace(b"RCPT", b"END-OF-MESSAGE") + b"\n" + request, b"\0\3 transport:next.hop"]
seeds["cache"] += [bytes([255]) + bytes(n * 37 % 251 for n in range(start, start + 600)) for start in range(8)]
seeds["cache"].append(b"\xff" + b"\1\1\x0a\1\x52\x14\6\1\0\6\2\0\0\0\5\3\1\0\6\1\0\4\0\x0b")
for message in seeds["dns"]:
    entry = len(message[1:]).to_bytes(2, "big") + message[1:] + b"\1\0\0\1\x2c\0\0\0\x3c"
    seeds["snapshot"] += [b"\2" + entry, b"\x1c" + entry + entry]
seeds["snapshot"].append(b"\1PosternDNS\0\1" + bytes(20))

# Expressions of the tests' tables, and texts for them.
tables = read(os.path.join(root, "Tests", "PosternAdmissionTests", "RulesExpressionTests.swift"))
quotes = sorted({part.replace(b"\\\\", b"\\") for part in re.findall(rb'"((?:[^"\\\n]|\\.)*)"', tables)})
seeds["expression"] += [text + b"\0" + other for text in quotes for other in (b"a.dsl-1-2.example.com", text)]

# Rules and limits: every table of the sample's, one alone and all together, each with a request or two.
tables = [b"[" + part for part in re.split(rb"(?m)^\[", keys)]
rules = [part for part in tables if part.startswith((b"[[rule", b"[[limit", b"[greylist", b"[dnsbl", b"[[dnsbl"))]
request = b"\4" + b"\0".join([b"\x45ann@example.net", b"\x43mx.example.net", b"\x48192.0.2.7", b"\x4f1000", b""])
conditions = [b"client = [\"192.0.2.0/24\", \"*.example.net\"]", b"helo = [\"/^dyn[0-9]{2,}/\"]",
              b"sender = [\"@example.net\", \"\"]", b"not_recipient = [\"bo@example.org\"]", b"size = [\"1KiB..\"]",
              b"time = [\"22:00..06:00\"]", b"weekday = [\"sat..sun\"]", b"dnsbl_score = [\"..-1\"]",
              b"spf = [\"fail\", \"temperror\"]", b"policy_context = [\"submission\"]", b"tls_sni = [\"a.test\"]"]
actions = [b"accept", b"reject 5.7.1 Go away", b"defer 451 4.7.1 Later", b"hold odd", b"prepend X-A: b", b"bcc a@b.test",
           b"filter smtp:[::1]:25", b"redirect a@b.test", b"score -3", b"greylist", b"shadow reject no", b"skip dnsbl"]
rules += [b'[[rule]]\nname = "r%d"\n%s\naction = "%s"\n' % (n, conditions[n % len(conditions)], action)
          for n, action in enumerate(actions)]
rules += [b'[[limit]]\nname = "l%d"\nper = ["%s"]\ncount = "%s"\nallow = ["%s"]\naction = "%s"\n' % row for row in [
    (1, b"client", b"connections", b"3/1h", b"defer 4.7.1 Slow down"), (2, b"sasl_username", b"messages", b"1/1m", b"reject no"),
    (3, b"sender_domain", b"octets", b"10MiB/1d", b"hold much"), (4, b"recipient", b"recipients", b"1/5s", b"defer")]]
for text in rules + [b"".join(rules[-16:-4]), b"".join(rules[-4:])]:
    seeds["rules"] += [bytes([choice]) + text + b"\0" + request + request for choice in (0, 1, 4, 5)]

seeds["explain"] += [json.dumps({"command": "explain", **values}).encode() for values in [
    {}, {"client_address": "192.0.2.7", "sender": "ann@example.net", "recipient": "bo@example.org"},
    {"client_address": "2001:db8::7", "client_name": "mx.example.net", "helo_name": "exact", "sender": "", "size": "2000"},
    {"protocol_state": "END-OF-MESSAGE", "sasl_username": "ann", "recipient_count": "3", "encryption_keysize": "256"},
    {"protocol_state": "VRFY", "instance": "1.2", "server_port": "587", "policy_context": "x", "tls_sni": "\u00e9"}]]
seeds["explain"] += [b"explain", b'{"command":"explain","size":1}', b'{"command":null}', b"{\"sender\":\"\\ud800\"}"]

head = b"Nov 21 01:52:23 mx1 "
tail = b"; from=<ann@example.net> to=<bo@example.org> proto=ESMTP helo=<mx.example.net>"
client = b"mx.example.net[192.0.2.7]"
seeds["maillog"] += [
    head + b"postfix/smtpd[1]: connect from " + client,
    head + b"postfix/smtpd[1]: NOQUEUE: reject: RCPT from " + client + b": 554 5.7.1 <a@b.example>: Relay access denied" + tail,
    head + b"postfix/smtpd[1]: 4cXk2J1hz: client=" + client + b", sasl_method=PLAIN, sasl_username=ann",
    head + b"postfix/cleanup[2]: 4cXk2J1hz: message-id=<1@example.net>",
    b"2026-11-21T01:52:23.004+01:00 mx1 postfix/qmgr[3]: 4cXk2J1hz: from=<ann@example.net>, size=99, nrcpt=1 (queue active)",
    head + b"postfix/smtp[4]: 4cXk2J1hz: to=<bo@example.org>, orig_to=<info>, relay=x[127.0.0.1]:25, delay=1, "
    b"delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok: queued as 72E90F7815D)",
    b"postern-policy[5]: NOQUEUE: defer: RCPT from " + client + b": 450 4.2.0 later (dnsbl: score 4 (zen.example 4, b 1)); "
    b"shadow: would reject: 550 no (rule x) (greylist: first try of 192.0.2.0/24; 300 s left)" + tail,
    b"postern-policy[5]: NOQUEUE: pass: RCPT from " + client + b": no objection (greylist: x has come back, after 9 s)" + tail,
    b"postern-dmarc[6]: 4cXk2J1hz: reject: END-OF-MESSAGE from " + client + b": 550 5.7.26 no; dmarc=fail (x) author=a.example "
    b"p=reject, would hold: x, spf=pass (a) mailfrom=b.example, dkim=none; from=<a@b.example> helo=<x>",
    b"postern-dkim[7]: 4cXk2J1hz: sign: END-OF-MESSAGE from " + client + b": d=a.example s=b a=rsa-sha256; from=<a@b.example>",
    b"postern-rate[8]: warning: repeated 3 times: limit a over: b: 3 of 3 recipients in 3600s; account=<c> clients=192.0.2.7",
    head + b'{"time":"2026-11-21T01:52:23.004Z","program":"postern-dmarc","pid":9,"level":"info","queue_id":"4cXk2J1hz",'
    b'"action":"judge","stage":"END-OF-MESSAGE","client_name":null,"client_address":"192.0.2.7","text":"dmarc=pass \\u00e9",'
    b'"from":"a@b.example","to":null,"proto":null,"helo":"x"}']
seeds["maillog"].append(b"\n".join(seeds["maillog"]))

# A recorded request: RCPT with a list's answer, SPF's and greylisting's, or without; cut, and in a whole file.
def number(value):
    octets = b""
    while value > 127:
        octets, value = octets + bytes([value & 127 | 128]), value >> 7
    return octets + bytes([value])

def text(octets):
    return number(len(octets)) + octets

def record(kind, decision, parts=b"\0", stage=4):
    values = {1: b"mx.example.net", 3: b"ann@example.net", 4: b"bo@example.org", 6: b"192.0.2.7", 9: b"1.2", 11: b"ann"}
    body = bytes([kind]) + number(1_790_000_000_000) + bytes([stage, len(values)])
    body += b"".join(bytes([place]) + text(value) for place, value in values.items())
    return text(body + decision + parts)

nothing = b"\0\0\0\0"
name = text(b"\7example\3net\0")
lists = number(2) + text(b"zen.example") + b"\0\0\1\2\0\0\x7f" + text(b"dbl.example") + b"\1\1"
policy = b"\2" + name + text(b"ip4:192.0.2.0/24") + b"\1" + name + text(b"a")
samples = [record(1, nothing), record(2, b"\2" + text(b"limit account") + text(b"450 4.7.1 no") + text(b"much")),
           record(3, nothing), record(1, b"\x81" + text(b"dnsbl") + b"\0\0", b"\1" + lists),
           record(1, nothing, b"\7" + lists + policy + b"\2\1" + number(300_000)),
           record(1, nothing, b"\6" + b"\3" + name + b"\4" + number(1000) + number(1_789_999_999_000))]
everything = b"".join(samples)
seeds["records"] += [b"\7\0" + part for part in samples + [everything, everything * 3, everything[:-9]]]
frames = b"".join(len(part).to_bytes(4, "little") + bytes(4) + part for part in samples + [everything])
seeds["records"] += [b"\7\3PSTNREQ1" + frames, b"\7\1PSTNREQ1" + frames, b"\3\1PSTNREQ1"]

# A manifest alone and in a tar, and files that are to be written.
def entry(kind, path, octets, **more):
    return {"path": kind + path, "kind": kind, "original": path, "owner": "root", "group": "postern", "mode": "640",
            "size": len(octets), "sha256": hashlib.sha256(octets).hexdigest(), "state": None, "schema": None,
            "modified": None, **more}

files = [("config", "/etc/postern/postern.toml", b"[host]\n", {}), ("keys", "/etc/postern/keys/a/b.pem", b"key", {}),
         ("state", "/var/lib/postern/limits.journal", b"PSTNLIM1", {"state": "limits", "schema": 1}),
         ("config", "/etc/postern/postern.toml.replaced-20261121T120000Z", b"", {"modified": 1790000000000000000})]

def manifest(files):
    return json.dumps({"format": 1, "postern": "0.1.0", "host": "mx1.example.org", "created": 1790000000,
                       "created_text": "", "configuration": files[0][1], "state_directory": "/var/lib/postern",
                       "entries": [entry(kind, path, octets, **more) for kind, path, octets, more in files]}).encode()

def member(name, octets, kind=b"0"):
    """Source: POSIX.1-2001, ustar Interchange Format."""
    head = name.ljust(100, b"\0") + b"0000600\0" + b"0000000\0" * 2 + b"%011o\0" % len(octets) + b"00000000000\0"
    tail = kind + bytes(100) + b"ustar\00000" + bytes(64) + b"0000000\0" * 2 + bytes(167)
    return (head + b"%06o\0 " % (sum(head) + sum(tail) + 8 * 32) + tail + octets
            + bytes(-len(octets) % 512))

for count in range(1, len(files) + 1):
    chosen = files[:count]
    tar = member(b"manifest.json", manifest(chosen))
    for kind, path, octets, _ in chosen:
        long = b"" if len(kind + path) < 100 else member(b"././@LongLink", (kind + path).encode() + b"\0", b"L")
        tar += long + member((kind + path).encode()[:100], octets)
    seeds["archive"] += [bytes([0, there]) + manifest(chosen) for there in range(4)]
    seeds["archive"] += [b"\1\0" + tar + bytes(1024), b"\1\4" + member(b"keys/../x", b"x") + tar]
    plain = b"".join(bytes([97 + n]) + path.encode() + b"\0" + octets.replace(b"\0", b"") + b"\0"
                     for n, (kind, path, octets, _) in enumerate(chosen))
    seeds["archive"] += [b"\3\0" + plain, b"\3\5d" + files[0][1].encode() + b"\0x\0" + plain]
# Members that are nearly the manifest's: what is wrong, what tar says it is, the kind and path; a pax header's members
# stand where the content is otherwise.
pax = b"path=/etc/shadow\nsize=3\nGNU.sparse.map=0,1\nlinkpath=x\nSCHILY.xattr.a=b"
for flaw in (0, 1, 2, 4, 8, 16, 32, 64, 128):
    for kind in b"\0" + b"0123456gxLKVDSNM" if flaw in (0, 64) else b"\0":
        seeds["archive"].append(
            b"\4\0\0\0d" + files[0][1].encode() + b"\0" + files[0][2] + b"\0" + bytes([flaw, kind]) + b"a"
            + files[1][1].encode() + b"\0" + (pax if kind in b"gx" else files[1][2]) + b"\0")
# A frame of one block that repeats a zero 131,072 times. Source: RFC 8878 §3.1.1.
seeds["archive"] += [b"\2\0\x28\xb5\x2f\xfd\0\x58" + b"\2\0\x10\0" * count + b"\3\0\x10\0" for count in (1, 60)]

# A limit's value: version, last, four times, slots, clients, age, counts; and replies.
def packed(value):
    if isinstance(value, list):
        return b"\xdc" + len(value).to_bytes(2, "big") + b"".join(map(packed, value))
    if isinstance(value, bytes):
        return bytes([0xA0 | len(value)]) + value
    return bytes([value]) if value < 128 else b"\xcf" + value.to_bytes(8, "big")

now = 1_790_000_000_000
states = [packed([1, last, 0, 0, 0, now, [29_833_333, 2], [b"\xc0\0\2\7"], 5000] + counts)
          for last in (now, now - 90_000) for counts in ([1] * 13, [now // 1000, 7], [2**62, 2**62], [2**62] * 13)]
values = states + [b"11763720000000", b"11763720000000,86400000,300000,+", b"11763720000000,86400000,,3,192.0.2.0/24",
                   b"1-9,-5,7", b"192.0.2.0/24", b"192.0.2.0/24\0ann@example.net\0bo@example.org", b"example.net",
                   b"per%20account:sasl_username:recipients:3600s,60s:ann@example.org", b"b:client:messages:60sfw:x:y"]
seeds["storereply"] += [b"\0\1" + value for value in values]

def bulk(octets):
    return b"$%d\r\n%s\r\n" % (len(octets), octets)

def array(*parts):
    return b"*%d\r\n" % len(parts) + b"".join(parts)

replies = [b"+OK\r\n", b":1\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"-ERR no\r\n", b"-READONLY no\r\n",
           b"-ERR Error running script: -OOM x\r\n", b"*65536\r\n", b"*9999999\r\n", b"*1\r\n" * 12 + b":1\r\n",
           b"$9223372036854775807\r\nx", bulk(b""), array(b":0\r\n", b":%d\r\n" % now, b":%d\r\n" % (now - 1000)),
           array(b":5\r\n", b":%d\r\n" % now, b"$-1\r\n", b":1\r\n", bulk(values[8]), b":0\r\n", bulk(b"x"))]
for state in states:
    for time in (now, now - 10**9, 0, 2**63 - 1, -2**63):
        value = bulk(state)
        over = array(value, array(*[b":%d\r\n" % n for n in (0, 0, 4, 1, 5000, 1)]), array(*[b":%d\r\n" % n for n in (0, 3, 0)]))
        replies += [array(b":%d\r\n" % time, b":0\r\n", part) for part in (value, over)]
seeds["storereply"] += [b"\7\0" + reply for reply in replies] + [b"\7\0" + b"".join(replies[:8]) * 3]

words = {
    "dkim": "DKIM-Signature: From: v=1; a=rsa-sha256; a=ed25519-sha256; c=relaxed/simple; d= s= h=from: bh= b= l= i=@ "
            "t= x= q=dns/txt v=DKIM1; k=ed25519; p= t=s t=y \\x00",
    "keys": "v=1; a=rsa-sha256; a=ed25519-sha256; c= d=a.test; s= h=from: bh= b= l= i=@ q=dns/txt v=DKIM1; k=rsa; p= "
            "h=sha256 s=email t=y:s \\x30 \\x02 \\x03 \\x82",
    "body": "\\x0d\\x0a \\x0d \\x0a \\x20 \\x09 \\x20\\x0d\\x0a \\x0d\\x0a\\x0d\\x0a",
    "authres": "example.com xn-- none dkim=pass reason= header.i= ; = ( ) \\x22 \\x5c \\x0d\\x0a\\x20 =?utf-8?q? =?utf-8?b? "
               "?= %2e . /1 \\xe3\\x80\\x82",
    "author": "( ) \\x22 \\x5c < > @ , : ; . \\x0d\\x0a\\x20 a@b.test \\xc3\\xbc xn-- \\x00",
    "message": "\\x0d\\x0a \\x0a \\x0d : \\x20 \\x09 From\\x20 A:",
    "names": "xn-- xn--bcher-kva . : :: / ::ffff: @ *@ unix: inet: tcp: udp: [ ] \\xc3\\xbc \\x3f \\xe3\\x80\\x82 -",
    "dns": "\\xc0\\x0c \\x00\\x01\\x00\\x01 \\x00\\x10\\x00\\x01 \\x00\\x05\\x00\\x01 \\x81\\x80 \\x00\\x29 \\x04test\\x00",
    "zone": "$ORIGIN $TTL $INCLUDE $GENERATE SOA TXT CNAME MX AAAA IN CH @ ( ) ; \\x22 \\x5c032 * TYPE65280 \\x5c# \\x0a",
    "config": "[host] [listen] [dns] [dkim] [[dkim.key]] [log] = \\x22 \\x22\\x22\\x22 ''' file: unix: inet: true 1979-05-27 "
              "0x 1e400 inf \\x5cu00e4 \\xef\\xbb\\xbf { } , \\x0a # 60s 64MiB",
    "pem": "-----BEGIN -----END PRIVATE\\x20KEY----- RSA EC ENCRYPTED \\x0a",
    "milter": "< > \\x0a \\x0d\\x0a \\x00 \\x02\\x00 \\x0a\\x00",
    "spf": "v=spf1 include: a mx ptr ip4: ip6: exists: redirect= exp= all + - ~ ? / // 192.0.2.0/24 %{ } %{i} %{d2r.-} "
           "%{S} %{p} %% %_ %- .test",
    "spfjudge": "v=spf1 include: a mx ptr ip4: ip6: exists: redirect= exp= all -all %{d} %{p} %{l1r-} %{h} %{s} a.test "
                "\\x00T* \\x00Ta.test \\x00A* \\x006* \\x00M* \\x00P* \\x00N \\x00E \\x00F 192.0.2.1 \\xff",
    "dmarc": "v=DMARC1 ; p= sp= np= adkim= aspf= psd= t= fo= rua= ruf= pct= none quarantine reject mailto: https: ! "
             ", : %20 a@b.test = r s y n u 0 1 d",
    "dmarcjudge": "v=DMARC1;p=reject psd=y psd=n adkim=s aspf=s np=none sp= t=y a.test b.a.test c.test _dmarc. "
                  "\\x00T_dmarc. \\x00N \\x00E \\x00F \\x00p \\x00t \\x00\\x00 @ < > , T*",
    "psl": "// ! *. . \\x0a com ck co.uk xn-- \\xe5\\x85\\xac",
    "policy": "request=smtpd_access_policy\\x0a protocol_state=RCPT\\x0a client_address= sender= recipient= size= "
              "instance= \\x0a\\x0a = \\x00 \\x0a END-OF-MESSAGE",
    "cache": "\\x00 \\x01 \\x03 \\x04 \\x06 \\xff",
    "snapshot": "PosternDNS \\x00\\x01 \\xc0\\x0c \\x81\\x80 \\x00\\x10 \\xff\\xff\\xff\\xff",
    "expression": "( ) (?: | * + ? {2} {1,3} {2,} [a-c] [^x] [[:digit:]] \\x5cd \\x5cW \\x5cs \\x5cx41 \\x5c. ^ $ . \\x00 \\xc3\\xbc - ]",
    "rules": "[[rule]]\\x0a [[limit]]\\x0a [[dnsbl.list]]\\x0a name= action= skip= shadow=true per= count= allow= not_ client "
             "helo sender recipient size time weekday dnsbl_score spf file: 127.0.0.[2..11] 3/1h accept reject defer hold "
             "prepend filter redirect bcc score greylist = \\x22 [ ] { } , \\x0a \\x00 /^a/ *. @ ..",
    "maillog": "<script> ]:\\x20 ;\\x20from=< to=< helo=< \\x20from\\x20 status=sent\\x20( (greylist:\\x20 (dnsbl:\\x20score\\x20 "
               "(rule\\x20 NOQUEUE:\\x20 4cXk2J1hz:\\x20 \\x22action\\x22: \\x5cu0000 limit\\x20 Feb\\x2029\\x20",
    "explain": "{ } \\x22command\\x22:\\x22explain\\x22 \\x22protocol_state\\x22: \\x22sender\\x22: \\x22recipient\\x22: "
               "\\x22client_address\\x22: \\x22helo_name\\x22: \\x22size\\x22: RCPT DATA null true [ ] , \\x5cu00e9 \\x5cn 192.0.2.7",
    "records": "PSTNREQ1 \\x80 \\xff \\x01\\x00 \\x07example\\x03net\\x00 192.0.2.7 ann@example.net \\x80\\x80\\x01 zen.example",
    "archive": "manifest.json \\x22path\\x22: \\x22original\\x22: \\x22size\\x22: \\x22state\\x22: config/ keys/ state/ ../ /etc/ "
               ".replaced-20261121T120000Z \\x00 ustar \\x28\\xb5\\x2f\\xfd \\x02\\x00\\x10\\x00 9007199254740993 null limits "
               "path= size= GNU.sparse.map=0,1 linkpath= hdrcharset=BINARY",
    "storereply": "\\x0d\\x0a *1\\x0d\\x0a *3\\x0d\\x0a $1\\x0d\\x0a $-1\\x0d\\x0a :0\\x0d\\x0a -ERR +OK 9223372036854775807 "
                  "-9223372036854775808 \\xcf \\xdc\\x00\\x16 \\x90 postern:limit: messages:60s 1176372 , + 192.0.2.0/24",
    "log": "\\x00 < > \\x5c \\x22 \\x0a \\xe2\\x80\\xa8 \\xe2\\x80\\xae \\xc2\\x85 mx.example.com",
}

def quoted(word):
    return '"' + word.replace('"', '\\x22') + '"'

def write(target, number, octets):
    folder = os.path.join(out, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"seed-{number:04}"), "wb") as file:
        file.write(octets)

everything = 0
for index, target in enumerate(TARGETS):
    for number, octets in enumerate(dict.fromkeys(seeds[target])):
        write(target, number, octets)
        write("all", everything, bytes([index]) + octets)
        everything += 1
    with open(os.path.join(out, target + ".dict"), "w") as file:
        file.write("".join(quoted(word) + "\n" for word in words[target].split()))
with open(os.path.join(out, "all.dict"), "w") as file:
    file.write("".join(quoted(word) + "\n" for word in sorted({w for t in TARGETS for w in words[t].split()})))
