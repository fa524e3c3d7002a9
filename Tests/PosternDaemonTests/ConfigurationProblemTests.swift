// What the admin is told: one row for each rule, the text of a configuration and the exact lines it must bring.

import PosternMail
import Testing

@testable import PosternDaemon

struct ProblemRow: Sendable, CustomTestStringConvertible {
    let rule: String
    let toml: String
    let problems: [String]

    init(_ rule: String, _ toml: String, _ problems: String...) {
        (self.rule, self.toml, self.problems) = (rule, toml, problems)
    }
    var testDescription: String { rule }
}

/// The listed tables, as the report on an unknown one names them.
private let known =
    "there are [host] [listen] [state] [log] [dns] [dkim] [spf] [dmarc] [[rule]] [dnsbl] [greylist] [[limit]] [policy] "
    + "[store]"

@Suite("configuration problems")
struct ConfigurationProblemTests {
    @Test("rows", arguments: syntax + unknown + shapes + values + lists + crossChecks)
    func rows(row: ProblemRow) {
        #expect(read(row.toml).problems.map(\.description) == row.problems.map { "postern.toml:\($0)" })
    }

    // MARK: TOML itself

    static let syntax = [
        ProblemRow("an empty file is valid", ""),
        ProblemRow("comments alone are valid", "# nothing\n\n"),
        ProblemRow(
            "a missing value", "[dkim]\nverify =\n",
            "2:9: expected TOML 1.0, found: Error while parsing key-value pair: expected value, saw '\\n'"),
        ProblemRow(
            "a key twice", "[dkim]\nverify = true\nverify = false\n",
            "3:10: expected TOML 1.0, found: Error while parsing key-value pair: cannot redefine existing boolean "
                + "'verify'"),
        ProblemRow(
            "a table twice", "[dkim]\n[log]\n[dkim]\n",
            "3:1: expected TOML 1.0, found: Error while parsing table header: cannot redefine existing table 'dkim'"),
        ProblemRow(
            "a string that does not end", "[host]\nname = \"mx",
            "2:11: expected TOML 1.0, found: Error while parsing string: encountered end-of-file"),
        ProblemRow("a NUL octet", "[host]\nname = \"m\u{0}x\"", "2:10: expected TOML 1.0, found: a NUL octet"),
        ProblemRow(
            "a character outside ASCII without quotes", "[host]\nnäme = 1",
            "2:2: expected TOML 1.0, found: Error while parsing key-value pair: expected '=', saw 'ä'"),
        ProblemRow(
            "a key of too many parts", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q = 1",
            "1:32: expected TOML 1.0, found: a key of more than 16 parts"),
    ]

    // MARK: What is not declared

    static let unknown = [
        ProblemRow(
            "an unknown key is named with its table", "[dkim]\nflavour = 1\n",
            "2:1: dkim.flavour: expected a key of [dkim], found \"flavour\""),
        ProblemRow(
            "the nearest key is proposed", "[dkim]\nverfiy = true\n",
            "2:1: dkim.verfiy: expected a key of [dkim], found \"verfiy\"; do you mean \"verify\"?"),
        ProblemRow(
            "a hyphen for an underscore is a slip", "[host]\nauthserv-id = \"example.com\"\n",
            "2:1: host.authserv-id: expected a key of [host], found \"authserv-id\"; do you mean \"authserv_id\"?"),
        ProblemRow(
            "a key of another table is sent there", "[host]\nverify = true\n",
            "2:1: host.verify: expected a key of [host], found \"verify\", which belongs to [dkim]: write it "
                + "below that header"),
        ProblemRow(
            "a key that fell into the table above it",
            "[dkim]\n[[dkim.key]]\ndomain = \"example.com\"\nselector = \"a\"\n"
                + "file = \"/dev/null\"\nexpire = \"1d\"\n",
            "5:8: dkim.key[1].file: expected a file that user root can read, found something else (a folder, pipe or "
                + "device) at /dev/null",
            "6:1: dkim.key[1].expire: expected a key of [[dkim.key]], found \"expire\", which belongs to [dkim]: write "
                + "it below that header"),
        ProblemRow(
            "a table's name as a key", "[host]\ndns = []\n",
            "2:1: host.dns: expected a key of [host], found \"dns\", which belongs to [listen]: write it "
                + "below that header"),
        ProblemRow(
            "a slip in the name of another table's key", "[host]\nverifi = true\n",
            "2:1: host.verifi: expected a key of [host], found \"verifi\"; do you mean \"verify\" of [dkim]?"),
        ProblemRow(
            "a key above all headers", "verify = true\n",
            "1:1: verify: expected a table that Postern knows, found \"verify\", which belongs to [dkim]: write it "
                + "below that header"),
        ProblemRow(
            "an unknown table", "[kitchen]\nsink = true\n",
            "1:2: kitchen: expected a table that Postern knows, found \"kitchen\"; \(known)"),
        ProblemRow(
            "the nearest table is proposed", "[dkm]\nverify = true\n",
            "1:2: dkm: expected a table that Postern knows, found \"dkm\"; do you mean \"dkim\"?"),
        ProblemRow(
            "an unknown table of tables", "[[dkim.keys]]\ndomain = \"example.com\"\n",
            "1:8: dkim.keys: expected a key of [dkim], found \"keys\"; do you mean \"key\"?"),
        ProblemRow(
            "a dotted key", "dkim.verfy = true\n",
            "1:6: dkim.verfy: expected a key of [dkim], found \"verfy\"; do you mean \"verify\"?"),
        ProblemRow(
            "controls in a key are shown", "[dkim]\n\"a\\u001Bb\" = 1\n",
            "2:1: dkim.a\\u{1B}b: expected a key of [dkim], found \"a\\u{1B}b\""),
    ]

    // MARK: Tables

    static let shapes = [
        ProblemRow("a value for a table", "dkim = 5\n", "1:8: dkim: expected a table [dkim], found the integer 5"),
        ProblemRow(
            "one pair of brackets for two", "[dkim.key]\ndomain = \"example.com\"\n",
            "1:1: dkim.key: expected [[dkim.key]], found a table; write its header in two pairs of brackets"),
        ProblemRow(
            "two pairs of brackets for one", "[[dkim]]\nverify = true\n",
            "1:1: dkim: expected one [dkim], found a list of tables; write its header in one pair of brackets"),
        ProblemRow(
            "a value for a list of tables", "[dkim]\nkey = \"x\"\n",
            "2:7: dkim.key: expected tables [[dkim.key]], found \"x\""),
        ProblemRow(
            "required keys, each", "[[dkim.key]]\n",
            "1:1: dkim.key[1].domain: expected the key \"domain\" in [[dkim.key]], found none; for example: "
                + "domain = \"example.com\"",
            "1:1: dkim.key[1].selector: expected the key \"selector\" in [[dkim.key]], found none; for example: "
                + "selector = \"2026q4\"",
            "1:1: dkim.key[1].file: expected the key \"file\" in [[dkim.key]], found none; for example: "
                + "file = \"keys/example.com/2026q4.pem\""),
        ProblemRow(
            "a folder of keys and a selector",
            "[[dkim.key]]\ndomain = \"example.com\"\ndirectory = \"/absent\"\n"
                + "selector = \"a\"\n",
            "3:13: dkim.key[1].directory: expected directory, or selector and file, found both it and selector"),
        ProblemRow(
            "a folder of keys and a file",
            "[[dkim.key]]\ndomain = \"example.com\"\nfile = \"/absent\"\n"
                + "directory = \"/absent\"\n",
            "4:13: dkim.key[1].directory: expected directory, or selector and file, found both it and file"),
        ProblemRow(
            "a folder of keys that is not there",
            "[[dkim.key]]\ndomain = \"example.com\"\ndirectory = \"/absent\"\n",
            "3:13: dkim.key[1].directory: expected a folder of keys, found \"No such file or directory\" at /absent"),
        ProblemRow(
            "no text for a folder of keys", "[[dkim.key]]\ndomain = \"example.com\"\ndirectory = 5\n",
            "3:13: dkim.key[1].directory: expected a file's path, found the integer 5"),
    ]

    // MARK: Values

    static let values = [
        ProblemRow(
            "a word for a boolean", "[dkim]\nverify = \"yes\"\n",
            "2:10: dkim.verify: expected true or false, found \"yes\""),
        ProblemRow(
            "a number for a boolean", "[host]\nshadow = 1\n",
            "2:10: host.shadow: expected true or false, found the integer 1"),
        ProblemRow(
            "an integer below its bounds", "[dkim]\nmin_rsa_bits = 512\n",
            "2:16: dkim.min_rsa_bits: expected an integer from 1024 to 4096, found the integer 512"),
        ProblemRow(
            "an integer above its bounds", "[dkim]\nmax_signatures = 101\n",
            "2:18: dkim.max_signatures: expected an integer from 1 to 100, found the integer 101"),
        ProblemRow(
            "a string for an integer", "[dkim]\nmax_signatures = \"8\"\n",
            "2:18: dkim.max_signatures: expected an integer from 1 to 100, found \"8\""),
        ProblemRow(
            "a fraction for an integer", "[dkim]\nmax_signatures = 8.5\n",
            "2:18: dkim.max_signatures: expected an integer from 1 to 100, found the number 8.5"),
        ProblemRow(
            "a number without a unit for a duration", "[dkim]\nexpire = 90\n",
            "2:10: dkim.expire: expected a duration such as \"90s\" (ms, s, m, h or d), found the integer 90"),
        ProblemRow(
            "a duration in words", "[dkim]\nexpire = \"5 minutes\"\n",
            "2:10: dkim.expire: expected a duration such as \"90s\" (ms, s, m, h or d), found \"5 minutes\""),
        ProblemRow(
            "a duration out of bounds", "[dns]\nnegative_ttl_max = \"25h\"\n",
            "2:20: dns.negative_ttl_max: expected a duration from \"0s\" to \"1d\", found \"25h\""),
        ProblemRow(
            "a date for a duration", "[dns]\nnegative_ttl_max = 2026-01-01\n",
            "2:20: dns.negative_ttl_max: expected a duration such as \"90s\" (ms, s, m, h or d), found the date or "
                + "time 2026-01-01"),
        ProblemRow(
            "a size in another unit", "[dns]\ncache = \"64MB\"\n",
            "2:9: dns.cache: expected a size such as \"64MiB\" (KiB, MiB, GiB or plain octets), found \"64MB\""),
        ProblemRow(
            "a size out of bounds", "[dns]\ncache = \"64KiB\"\n",
            "2:9: dns.cache: expected a size from 1MiB to 64GiB, found \"64KiB\""),
        ProblemRow(
            "a size of plain octets out of bounds", "[dns]\ncache = 4096\n",
            "2:9: dns.cache: expected a size from 1MiB to 64GiB, found the integer 4096"),
        ProblemRow(
            "a word that is none of an enumeration's", "[log]\nto = \"file\"\n",
            "2:6: log.to: expected \"stderr\", \"syslog\" or \"journal\", found \"file\""),
        ProblemRow(
            "words are not taken in other case", "[log]\nlevel = \"INFO\"\n",
            "2:9: log.level: expected \"debug\", \"info\", \"warning\", \"error\" or \"critical\", found \"INFO\""),
        ProblemRow(
            "a list for a word", "[log]\nformat = []\n",
            "2:10: log.format: expected \"postfix\" or \"json\", found an empty list"),
        ProblemRow(
            "an unknown canonicalization", "[dkim]\ncanonicalization = \"strict/relaxed\"\n",
            "2:20: dkim.canonicalization: expected \"simple/simple\", \"simple/relaxed\", \"relaxed/simple\" or "
                + "\"relaxed/relaxed\", found \"strict/relaxed\""),
        ProblemRow(
            "a canonicalization of the header alone", "[dkim]\ncanonicalization = \"relaxed\"\n",
            "2:20: dkim.canonicalization: expected \"simple/simple\", \"simple/relaxed\", \"relaxed/simple\" or "
                + "\"relaxed/relaxed\", found \"relaxed\""),
        ProblemRow(
            "an unknown author rule", "[dkim]\nauthor = \"all\"\n",
            "2:10: dkim.author: expected \"any\", \"envelope\" or \"login\", found \"all\""),
        ProblemRow(
            "a host name with a space", "[host]\nname = \"mx 1\"\n",
            "2:8: host.name: expected a host name such as \"mx1.example.com\", found \"mx 1\""),
        ProblemRow(
            "an endpoint of no known form", "[listen]\ndkim = \"8891\"\n",
            "2:8: listen.dkim: expected unix:PATH, inet:PORT@HOST, tcp:HOST:PORT or udp:HOST:PORT, found \"8891\""),
        ProblemRow(
            "a milter on a relative path", "[listen]\ndkim = \"unix:postern/dkim.sock\"\n",
            "2:8: listen.dkim: expected an absolute path after unix:, found \"unix:postern/dkim.sock\""),
        ProblemRow(
            "a milter on UDP", "[listen]\ndkim = \"udp:127.0.0.1:8891\"\n",
            "2:8: listen.dkim: expected \"unix:/PATH\" or \"inet:PORT@ADDRESS\", found \"udp:127.0.0.1:8891\""),
        ProblemRow(
            "a milter on a host's name", "[listen]\ndkim = \"inet:8891@mx.example.com\"\n",
            "2:8: listen.dkim: expected an address or localhost, not another name, found \"inet:8891@mx.example.com\""),
        ProblemRow(
            "postern-dns beyond loopback", "[listen]\ndns = [\"udp:192.0.2.1:53\"]\n",
            "2:8: listen.dns: expected a loopback address, since postern-dns answers whoever asks, found "
                + "\"udp:192.0.2.1:53\""),
        ProblemRow(
            "a mode that is no octal number", "[listen]\nmode = \"0999\"\n",
            "2:8: listen.mode: expected a mode in octal digits such as \"0660\", found \"0999\""),
        ProblemRow(
            "a mode as a number", "[listen]\nmode = 0o660\n",
            "2:8: listen.mode: expected a mode in octal digits such as \"0660\", found the integer 432"),
        ProblemRow(
            "a mode that locks the owner out", "[listen]\nmode = \"0060\"\n",
            "2:8: listen.mode: expected a mode that lets the owner read and write, such as \"0660\", found \"0060\""),
        ProblemRow(
            "a relative folder", "[listen]\ncontrol = \"run\"\n",
            "2:11: listen.control: expected an absolute path, found \"run\""),
        ProblemRow(
            "an upstream by name", "[dns]\nupstream = [\"dns.example.com\"]\n",
            "2:13: dns.upstream: expected the address of a DNS server such as \"192.0.2.53\" or \"127.0.0.1:5353\", "
                + "found \"dns.example.com\""),
        ProblemRow(
            "a long text is cut", "[log]\nto = \"\(String(repeating: "x", count: 100))\"\n",
            "2:6: log.to: expected \"stderr\", \"syslog\" or \"journal\", found "
                + "\"\(String(repeating: "x", count: 80))…\""),
    ]

    // MARK: Lists

    static let lists = [
        ProblemRow(
            "one value without brackets", "[host]\nnetworks = \"192.0.2.0/24\"\n",
            "2:12: host.networks: expected a list of which each is an address or a network such as \"192.0.2.0/24\", "
                + "or \"file:NAME\", found \"192.0.2.0/24\""),
        ProblemRow(
            "host bits in a network, with what is meant", "[host]\nnetworks = [\"192.0.2.1/24\"]\n",
            "2:13: host.networks: expected a network without host bits, found \"192.0.2.1/24\"; do you mean "
                + "\"192.0.2.0/24\"?"),
        ProblemRow(
            "each wrong value at its own place", "[host]\nnetworks = [\"x\",\n  \"192.0.2.0/33\", 7]\n",
            "2:13: host.networks: expected an address or ADDRESS/LENGTH, found \"x\"",
            "3:3: host.networks: expected a prefix length of 0 to 32, found \"192.0.2.0/33\"",
            "3:19: host.networks: expected an address or a network such as \"192.0.2.0/24\", found the integer 7"),
        ProblemRow(
            "a list's file that is not there", "[host]\nrelays = \"file:absent\"\n",
            "2:10: host.relays: expected a readable file /nonexistent/absent, found \"No such file or directory\""),
        ProblemRow(
            "too few values", "[listen]\ndns = []\n", "2:7: listen.dns: expected at least 1 values, found 0"),
        ProblemRow(
            "a pattern without @",
            "[[dkim.key]]\ndomain = \"example.com\"\nselector = \"a\"\nfile = \"/dev/null\"\n"
                + "from = [\"example.com\"]\n",
            "4:8: dkim.key[1].file: expected a file that user root can read, found something else (a folder, pipe or "
                + "device) at /dev/null",
            "5:9: dkim.key[1].from: expected a pattern such as \"*@example.com\", found \"example.com\", which has no @"
        ),
        ProblemRow(
            "a field name with a colon", "[dkim]\nsign_header_fields = [\"From:\", \"DKIM-Signature\"]\n",
            "2:23: dkim.sign_header_fields: expected a header field's name such as \"List-Id\", found \"From:\"",
            "2:32: dkim.sign_header_fields: expected a field other than DKIM-Signature, which cannot sign itself, "
                + "found \"DKIM-Signature\""),
        ProblemRow(
            "an authserv-id with a star inside", "[host]\nstrip_authserv_ids = [\"mx*.example.com\"]\n",
            "2:23: host.strip_authserv_ids: expected an authserv-id such as \"example.com\" or \"*.example.com\", "
                + "found \"mx*.example.com\""),
        ProblemRow(
            "an empty word", "[host]\npassthrough = [\"\"]\n",
            "2:16: host.passthrough: expected the {daemon_name} of a Postfix service, found \"\""),
    ]

    // MARK: Values that do not go together

    static let crossChecks = [
        ProblemRow(
            "one endpoint for two daemons",
            "[listen]\ndkim = \"inet:8891@127.0.0.1\"\ndmarc = \"inet:127.0.0.1:8891\"\n",
            "3:9: listen.dmarc: expected an endpoint of its own, found tcp:127.0.0.1:8891, which is listen.dkim's"),
        ProblemRow(
            "a postern-dns that the daemons cannot ask", "[listen]\ndns = [\"udp:127.0.0.1:5300\"]\n",
            "2:7: listen.dns: expected a \"unix:/PATH\" or \"tcp:127.0.0.1:PORT\" for the daemons, found only UDP"),
        ProblemRow(
            "one selector twice",
            "[[dkim.key]]\ndomain = \"example.com\"\nselector = \"a\"\nfile = \"/absent\"\n"
                + "[[dkim.key]]\ndomain = \"EXAMPLE.com.\"\nselector = \"A\"\nfile = \"/absent\"\n",
            "4:8: dkim.key[1].file: expected a file that user root can read, found \"No such file or directory\" at "
                + "/absent",
            "7:12: dkim.key[2].selector: expected a key record of its own, found a._domainkey.example.com, which is "
                + "dkim.key[1]'s",
            "8:8: dkim.key[2].file: expected a file that user root can read, found \"No such file or directory\" at "
                + "/absent"),
        ProblemRow(
            "login without a user",
            "[dkim]\nauthor = \"login\"\n[[dkim.key]]\ndomain = \"example.com\"\nselector = \"a\"\n"
                + "file = \"/absent\"\n",
            "2:10: dkim.author: expected users in a [[dkim.key]] for \"login\", found none: nothing would be signed",
            "6:8: dkim.key[1].file: expected a file that user root can read, found \"No such file or directory\" at "
                + "/absent"),
        ProblemRow(
            "a selector that makes the record's name too long",
            "[[dkim.key]]\ndomain = \"\(longName).example.com\"\nselector = \"selector\"\nfile = \"/absent\"\n",
            "3:12: dkim.key[1].selector: expected a selector with which SELECTOR._domainkey.DOMAIN has at most 255 "
                + "octets, found more",
            "4:8: dkim.key[1].file: expected a file that user root can read, found \"No such file or directory\" at "
                + "/absent"),
        ProblemRow(
            "a zone file that is not there", "[dns]\nstatic = \"static.zone\"\n",
            "2:10: dns.static: expected a readable file /nonexistent/static.zone, found \"No such file or directory\""),
    ]
    private static let longName = Array(repeating: String(repeating: "a", count: 58), count: 4).joined(separator: ".")

    // MARK: Several at once

    @Test("all problems are told at once, in the order of the file, whatever step found them")
    func severalAtOnce() {
        let result = read(
            """
            colour = "red"
            [dkim]
            expire = "never"
            verfy = true
            [listen]
            mode = "0999"
            dmarc = "unix:/var/spool/postfix/postern/dkim.sock"
            [[dkim.key]]
            domain = "no domain"
            selector = "s"
            [host]
            networks = ["10.0.0.0/8", "10.0.0.1/8"]
            name = 1
            """)
        #expect(
            result.problems.map { "\($0.line):\($0.column) \($0.keyPath)" } == [
                "1:1 colour", "3:10 dkim.expire", "4:1 dkim.verfy", "6:8 listen.mode", "7:9 listen.dmarc",
                "8:1 dkim.key[1].file", "9:10 dkim.key[1].domain", "12:27 host.networks", "13:8 host.name",
            ])
        #expect(result.configuration == nil)
    }

    @Test("a start survives what is wrong in other daemons' tables; check and reload do not")
    func severity() {
        let text = "[kitchen]\n[dkim]\nverify = 1\n"
        let dns = read(text, for: .dns)
        #expect(dns.problems.map(\.severity) == [.warning, .warning])
        #expect(dns.configuration?.dkim.verify == true)
        #expect(dns.flawless == nil)
        let dkim = read(text, for: .dkim)
        #expect(dkim.problems.map(\.severity) == [.warning, .error])
        #expect(dkim.configuration == nil)
        #expect(read(text, for: .check).problems.map(\.severity) == [.error, .error])
        for shared in ["[host]\nname = 1", "[listen]\nmode = 1", "[log]\nto = 1", "[dns]\ncache = true", "x ="] {
            #expect(read(shared, for: .dkim).configuration == nil, "\(shared)")
            #expect(read(shared, for: .dns).configuration == nil, "\(shared)")
        }
    }

    @Test("a file that is missing, a folder or too long is one problem")
    func wholeFile() {
        #expect(
            Configuration.load(path: "/nowhere/postern.toml", for: .dkim).problems.map(\.description)
                == ["/nowhere/postern.toml: expected a readable file, found \"No such file or directory\""])
        #expect(
            Configuration.load(path: "/tmp", for: .check).problems.map(\.description)
                == ["/tmp: expected a readable file, found something else (a folder, pipe or device)"])
        #expect(
            read([UInt8](repeating: 0x23, count: 5 << 20)).problems.map(\.description)
                == ["postern.toml:1:1: expected TOML 1.0, found: more than 4194304 octets"])
    }
}
