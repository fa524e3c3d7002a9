#!/usr/bin/env python3
"""Records answers.txt anew: real servers of Debian (NSD, Unbound, BIND) on loopback ports, asked by raw octets.

    sudo Tests/Fixtures/dns-answers/record.py >Tests/Fixtures/dns-answers/answers.txt

Needs nsd, unbound, bind9 and ldnsutils. NSD serves two signed zones, one of them spoilt after signing, and a reverse
zone; Unbound and BIND resolve with NSD behind them, Unbound validating. Nothing leaves the machine.
"""
import os, shutil, socket, struct, subprocess, sys, tempfile, time

NSD, UNBOUND, NAMED = 5491, 5492, 5493
LONG = " ".join('"%s"' % (chr(97 + n) * 250) for n in range(12))
ZONE = """$ORIGIN dns.test.
$TTL 3600
@ SOA ns hostmaster 1 3600 600 86400 300
@ NS ns
@ NS ns2
@ MX 10 mx1
@ MX 20 mx2.example.
@ A 192.0.2.1
@ AAAA 2001:db8::1
@ TXT "v=spf1 mx include:_spf.dns.test -all"
@ TXT "verification=0123456789"
@ CAA 0 issue "ca.example"
ns A 127.0.0.1
ns2 AAAA 2001:db8::53
mx1 A 192.0.2.25
mx1 AAAA 2001:db8::25
_spf TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all"
_dmarc TXT "v=DMARC1; p=reject; sp=quarantine; rua=mailto:dmarc@dns.test"
s1._domainkey TXT "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAu1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt0gunVTLw7onLRnrq0" "/IzW7yWR7QkrmBL7jTKEn5u+qKhbwKfBstIs+bMY2Zkp18gnTxKLxoS2tFczGkPLPgizskuemMghRniWaoLcyehkd3qqGElvW/VDL5AaWTg0nLVkjRo9z+40RQzuVaE8AkAFmxZzow3x+VJYKdjykkJ0iT9wCS0DRTXu269V264Vf/3jvredZiKRkgwlL9xNAwxXFg0x/XFw005UWVRIkdgcKWTjp2dP67mgmjBSNYx0QhiXbV0xbqaHXf0ku"
s2._domainkey TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
s3._domainkey CNAME key.hosted
key.hosted CNAME key2.hosted
key2.hosted CNAME s2._domainkey
gone CNAME nothing
loop1 CNAME loop2
loop2 CNAME loop1
* TXT "a wildcard"
*.list A 127.0.0.2
big TXT %s
many A 192.0.2.101
%s
_smtp._tcp SRV 0 5 25 mx1
_25._tcp.mx1 TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
here.ent A 192.0.2.77
sub NS ns.sub
ns.sub A 192.0.2.99
""" % (LONG, "\n".join("many A 192.0.2.%d" % n for n in range(102, 140)))
SPOILT = "$ORIGIN bogus.test.\n$TTL 3600\n@ SOA ns.dns.test. hostmaster 1 3600 600 86400 300\n@ NS ns.dns.test.\n_dmarc TXT \"v=DMARC1; p=none\"\n"
REVERSE = "$ORIGIN 2.0.192.in-addr.arpa.\n$TTL 3600\n@ SOA ns.dns.test. hostmaster 1 3600 600 86400 300\n@ NS ns.dns.test.\n25 PTR mx1.dns.test.\n26 PTR mx1.dns.test.\n26 PTR mx2.example.\n"

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "DS": 43,
         "DNSKEY": 48, "TLSA": 52, "CAA": 257}


def query(name, kind, edns=1232, do=False, version=0, options=b"", rd=True):
    flags = (0x0100 if rd else 0) | 0x0020
    message = struct.pack(">6H", 4711, flags, 1, 0, 0, 1 if edns else 0)
    for label in name.rstrip(".").split("."):
        message += bytes([len(label)]) + label.encode() if label else b""
    message += b"\0" + struct.pack(">2H", TYPES[kind], 1)
    if edns:
        message += b"\0" + struct.pack(">2HBBHH", 41, edns, 0, version, 0x8000 if do else 0, len(options)) + options
    return message


def ask(port, message, tcp=False):
    if tcp:
        with socket.create_connection(("127.0.0.1", port), 20) as stream:
            stream.sendall(struct.pack(">H", len(message)) + message)
            data = b""
            while len(data) < 2 or len(data) < 2 + struct.unpack(">H", data[:2])[0]:
                part = stream.recv(65536)
                if not part:
                    raise EOFError
                data += part
            return data[2:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        datagram.settimeout(20)
        datagram.sendto(message, ("127.0.0.1", port))
        return datagram.recv(65536)


COOKIE = struct.pack(">2H", 10, 8) + b"postern1"
# what is asked, how, and of whom
NORMAL = [("dns.test", "A"), ("dns.test", "AAAA"), ("dns.test", "MX"), ("dns.test", "TXT"), ("_dmarc.dns.test", "TXT"),
          ("s1._domainkey.dns.test", "TXT"), ("s3._domainkey.dns.test", "TXT"), ("gone.dns.test", "A"),
          ("nothing.list.dns.test", "TXT"), ("mx1.dns.test", "TXT"), ("25.2.0.192.in-addr.arpa", "PTR"),
          ("99.2.0.192.in-addr.arpa", "PTR")]
CASES = [(name, kind, server, {}, False) for server in ("nsd", "unbound", "named") for name, kind in NORMAL] + [
    ("dns.test", "SOA", "nsd", {}, False), ("dns.test", "NS", "unbound", {}, False),
    ("dns.test", "CAA", "named", {}, False), ("_smtp._tcp.dns.test", "SRV", "nsd", {}, False),
    ("_25._tcp.mx1.dns.test", "TLSA", "unbound", {}, False), ("26.2.0.192.in-addr.arpa", "PTR", "named", {}, False),
    ("2.0.0.127.list.dns.test", "A", "nsd", {}, False), ("any.thing.dns.test", "TXT", "unbound", {}, False),
    ("ent.dns.test", "A", "nsd", {}, False), ("sub.dns.test", "A", "nsd", {}, False),
    ("loop1.dns.test", "A", "nsd", {}, False), ("loop1.dns.test", "A", "unbound", {}, False),
    ("many.dns.test", "A", "unbound", {}, False), ("example.org", "A", "nsd", {}, False),
    ("dns.test", "A", "nsd", {"edns": 0}, False), ("dns.test", "TXT", "unbound", {"edns": 0}, False),
    ("dns.test", "MX", "named", {"do": True}, False), ("dns.test", "DNSKEY", "nsd", {"do": True}, True),
    ("nothing.list.dns.test", "TXT", "unbound", {"do": True}, False), ("_dmarc.dns.test", "TXT", "nsd", {"do": True}, False),
    ("big.dns.test", "TXT", "nsd", {}, False), ("big.dns.test", "TXT", "unbound", {}, False),
    ("big.dns.test", "TXT", "unbound", {}, True), ("big.dns.test", "TXT", "named", {"edns": 512}, False),
    ("dns.test", "A", "nsd", {"version": 1}, False), ("dns.test", "A", "named", {"version": 1}, False),
    ("dns.test", "A", "named", {"options": COOKIE}, False), ("_dmarc.dns.test", "TXT", "named", {"options": COOKIE}, True),
    ("_dmarc.bogus.test", "TXT", "unbound", {}, False), ("_dmarc.bogus.test", "TXT", "named", {}, False),
]


def main():
    if os.getuid() != 0:
        sys.exit("run this as root")
    work = tempfile.mkdtemp(prefix="dns-answers-")
    os.chmod(work, 0o755)
    children = []
    try:
        def write(name, text):
            with open(os.path.join(work, name), "w") as file:
                file.write(text)
        anchors = ""
        for zone, text in (("dns.test", ZONE), ("bogus.test", SPOILT)):
            write(zone, text)
            key = subprocess.run(["ldns-keygen", "-a", "ECDSAP256SHA256", "-k", zone], cwd=work, check=True,
                                 capture_output=True, text=True).stdout.strip()
            subprocess.run(["ldns-signzone", "-e", "20400101000000", zone, key], cwd=work, check=True)
            with open(os.path.join(work, key + ".key")) as file:
                anchors += file.read()
        with open(os.path.join(work, "bogus.test.signed")) as file:
            spoilt = file.read().replace("p=none", "p=evil")
        write("bogus.test.signed", spoilt)
        write("reverse", REVERSE)
        write("anchors", anchors)
        write("nsd.conf", "server:\n ip-address: 127.0.0.1@%d\n username: \"\"\n zonesdir: \"%s\"\n database: \"\"\n"
              " pidfile: \"%s/nsd.pid\"\n xfrdfile: \"\"\n zonelistfile: \"%s/nsd.list\"\n"
              "remote-control:\n control-enable: no\n" % (NSD, work, work, work)
              + "".join("zone:\n name: %s\n zonefile: %s\n" % pair for pair in (
                  ("dns.test", "dns.test.signed"), ("bogus.test", "bogus.test.signed"),
                  ("2.0.192.in-addr.arpa", "reverse"))))
        zones = ("dns.test", "bogus.test", "2.0.192.in-addr.arpa")
        write("unbound.conf", "server:\n interface: 127.0.0.1@%d\n username: \"\"\n chroot: \"\"\n directory: \"%s\"\n"
              " pidfile: \"%s/unbound.pid\"\n use-syslog: no\n do-not-query-localhost: no\n ede: yes\n"
              " trust-anchor-file: \"%s/anchors\"\n local-zone: \"test.\" nodefault\n"
              " local-zone: \"2.0.192.in-addr.arpa.\" nodefault\n domain-insecure: \"2.0.192.in-addr.arpa\"\n"
              % (UNBOUND, work, work, work)
              + "".join("stub-zone:\n name: %s\n stub-addr: 127.0.0.1@%d\n" % (zone, NSD) for zone in zones))
        write("named.conf", "options { directory \"%s\"; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; };"
              " pid-file \"%s/named.pid\"; session-keyfile \"%s/session.key\"; recursion yes;"
              " allow-query { any; }; allow-recursion { any; }; dnssec-validation no; empty-zones-enable no; };\n"
              "controls { };\n" % (work, NAMED, work, work)
              + "".join('zone "%s" { type forward; forward only; forwarders { 127.0.0.1 port %d; }; };\n' % (zone, UNBOUND)
                        for zone in zones))
        log = open(os.path.join(work, "log"), "w")
        for command in (["nsd", "-d", "-c", work + "/nsd.conf"], ["unbound", "-d", "-c", work + "/unbound.conf"],
                        ["named", "-g", "-c", work + "/named.conf"]):
            children.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=work))
        ports = {"nsd": NSD, "unbound": UNBOUND, "named": NAMED}
        for port in ports.values():
            for _ in range(100):
                try:
                    if ask(port, query("dns.test", "A"))[3] & 15 == 0:
                        break
                except OSError:
                    pass
                time.sleep(0.2)
            else:
                sys.exit("no answer from port %d: see %s/log" % (port, work))
        print("# Recorded by record.py: server, transport, NAME TYPE, the reply's octets in hexadecimal. See README.md.")
        for name, kind, server, how, tcp in CASES:
            reply = ask(ports[server], query(name, kind, **how), tcp)
            print(server, "tcp" if tcp else "udp", name, kind, reply.hex())
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
        if sys.exc_info()[0] is None:
            shutil.rmtree(work)


main()
