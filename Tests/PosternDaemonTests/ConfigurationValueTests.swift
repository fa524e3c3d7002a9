// What a right configuration means: defaults, durations, sizes, lists from files, and what each table gives its daemon.

import Foundation
import PosternAdmission
import PosternAuth
import PosternMail
import Testing

@testable import PosternDaemon

@Suite("configuration values")
struct ConfigurationValueTests {
    @Test("an empty file means: verify, strip, add results, sign nothing")
    func defaults() throws {
        let configuration = try #require(read("").flawless)
        #expect(configuration.host.name == Example.host)
        #expect(configuration.host.authservID == "mx1.example.com")
        #expect(configuration.host.stripAuthservIDs == ["mx1.example.com"])
        #expect(configuration.host.networks.map(\.description) == ["127.0.0.0/8", "::1/128"])
        #expect(configuration.host.relays.isEmpty)
        #expect(configuration.host.passthrough == ["REINJECT"])
        #expect(!configuration.host.shadow)
        #expect(configuration.listen.dkim == .unix(path: "/var/spool/postfix/postern/dkim.sock"))
        #expect(configuration.listen.dmarc == .unix(path: "/var/spool/postfix/postern/dmarc.sock"))
        #expect(configuration.listen.policy == .unix(path: "/var/spool/postfix/postern/policy.sock"))
        #expect(configuration.listen.rate == .unix(path: "/var/spool/postfix/postern/rate.sock"))
        #expect(configuration.listen.dns == [.unix(path: "/run/postern/dns.sock")])
        #expect(configuration.listen.control == "/run/postern")
        #expect(configuration.listen.mode == 0o660)
        #expect(configuration.log == LogSettings(to: .journal, facility: .mail, format: .postfix, level: .info))
        #expect(configuration.dns.upstreams.isEmpty)
        #expect(configuration.dns.cacheOctets == 64 * 1024 * 1024)
        #expect(configuration.dns.negativeTTLMax == .seconds(60))
        #expect(configuration.dns.staticZonePath == nil)
        #expect(configuration.dkim.verify)
        #expect(configuration.dkim.author == .any)
        #expect(configuration.dkim.signing == DKIMSigningSettings())
        #expect(configuration.dkim.verification == DKIMVerificationSettings(minRSABits: 1024, maxSignatures: 8))
        #expect(configuration.dkim.keepPublished == .seconds(7 * 86_400))
        #expect(configuration.dkim.keys.isEmpty)
        // Nothing is refused, nobody is asked, nobody waits.
        let spf = configuration.spf
        #expect([spf.onFail, spf.onSoftfail, spf.onPermerror, spf.onTemperror].allSatisfy { $0 == .accept })
        #expect(spf.identities == [.mailFrom, .helo] && !spf.shadow)
        #expect(configuration.dmarc.onReject == .quarantine && configuration.dmarc.onQuarantine == .quarantine)
        #expect(configuration.dmarc.onTemperror == .accept && configuration.dmarc.mailingList == .quarantine)
        #expect(configuration.dmarc.onInvalidAuthor == .reject && configuration.dmarc.discovery == .treewalk)
        #expect(configuration.dmarc.require == [] && configuration.dmarc.exceptions.isEmpty)
        #expect(configuration.dmarc.facts == .seconds(90 * 86_400))
        #expect(configuration.dnsbl.lists.isEmpty)
        #expect(configuration.dnsbl.rejectScore == 4 && configuration.dnsbl.deferScore == nil)
        #expect(configuration.dnsbl.budget == .seconds(3))
        #expect(configuration.greylist.clients == .none)
        #expect(configuration.greylist.delay == .seconds(300) && configuration.greylist.suspiciousScore == 1)
        #expect(configuration.greylist.ipv4Prefix == 24 && configuration.greylist.ipv6Prefix == 64)
        #expect(configuration.rules.isEmpty && configuration.limits.isEmpty)
        #expect(configuration.state.directory == "/var/lib/postern")
        #expect(configuration.dns.ttl == .zero ... .seconds(86_400) && configuration.dns.zones.isEmpty)
        #expect(configuration.store.url == nil && configuration.store.timeout == .milliseconds(100))
        #expect(configuration.record == RecordSettings(keep: .zero, octets: 256 << 20))
        #expect(configuration.differences == "")
    }

    @Test("the machine's name is asked only where the file gives none, and is a host's name")
    func machineName() {
        let given = Configuration.read(
            Array("[host]\nname = \"mx2.example.com\"".utf8), file: "f", folder: "/", for: .dkim, as: .current
        ) {
            Issue.record("asked")
            return .root
        }
        #expect(given.configuration?.host.name == Example.name("mx2", "example", "com"))
        #expect(MachineName.current().isHostname())
    }

    @Test("every key is taken, and told by `differences` if it is not the default")
    func everything() throws {
        let text = """
            [host]
            name = "MX1.Example.NET."
            authserv_id = "bücher.example"
            strip_authserv_ids = ["*.example.net", "example.net", "*"]
            networks = ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]
            relays = ["203.0.113.5"]
            passthrough = []
            shadow = true

            [listen]
            dkim = "inet:8891@127.0.0.1"
            dmarc = "inet:[::1]:8892"
            dns = ["unix:/run/d.sock", "udp:127.0.0.1:5300", "tcp:[::1]:5300"]
            control = "/srv/control"
            mode = "666"

            [state]
            directory = "/srv/state"

            [log]
            to = "stderr"
            facility = "local3"
            format = "json"
            level = "debug"

            [dns]
            upstream = ["192.0.2.53", "127.0.0.1:5353", "2001:db8::53", "[2001:db8::54]:5353"]
            cache = 2097152
            negative_ttl_max = "90m"
            timeout = "700ms"
            ttl_min = "5s"
            ttl_max = "2h"
            stale = "0s"
            stale_keys = "1h"
            mixed_case = true

            [[dns.zone]]
            name = "dnsbl.example"
            upstream = ["127.0.0.1:5354"]
            questions_per_second = 5

            [dkim]
            verify = false
            author = "envelope"
            sign_header_fields = ["Subject", "List-Id"]
            canonicalization = "simple/relaxed"
            expire = "14d"
            require_published = false
            keep_published = "10d"
            min_rsa_bits = 2048
            max_signatures = 3

            [spf]
            on_fail = "reject"
            on_softfail = "quarantine"
            on_permerror = "defer"
            on_temperror = "defer"
            identities = ["helo"]
            shadow = true

            [dmarc]
            on_reject = "reject"
            on_quarantine = "hold"
            on_temperror = "defer"
            on_invalid_author = "accept"
            mailing_list = "accept"
            require = ["example.com", "*.example.org"]
            discovery = "psl"
            facts = "0s"
            shadow = true

            [[dmarc.exception]]
            client = ["203.0.113.0/24"]
            reason = "mailing_list"

            [dnsbl]
            reject_score = 5
            defer_score = 3
            budget = "2s"
            reason = true
            shadow = true

            [greylist]
            clients = "suspicious"
            suspicious_score = 2
            delay = "1m"
            retry_within = "4h"
            remember = "10d"
            ipv4_prefix = 32
            ipv6_prefix = 48
            skip_clients = ["192.0.2.0/24", "*.example.com", "mail.example.org"]
            skip_senders = ["@example.com"]
            skip_recipients = ["/^postmaster@/"]
            shadow = true

            [policy]
            record = "7d"
            record_size = "64MiB"

            [store]
            url = "rediss://store.example.net/3"
            timeout = "50ms"
            user = "postern"
            password_file = "redis.password"
            ca_file = "store-ca.pem"

            """
        let folder = try TemporaryFolder()
        try folder.write("redis.password", "secret\n")
        try folder.write("store-ca.pem", "-----BEGIN CERTIFICATE-----\n")
        let configuration = try #require(read(Array(text.utf8), folder: folder.path).flawless)
        #expect(configuration.host.name == Example.name("mx1", "example", "net"))
        #expect(configuration.host.authservID == "xn--bcher-kva.example")
        #expect(configuration.host.stripAuthservIDs == ["*.example.net", "example.net", "*"])
        #expect(configuration.host.networks.contain(.v4(0xC633_6407)))
        #expect(configuration.host.origin.relays.map(\.description) == ["203.0.113.5/32"])
        #expect(configuration.host.origin.passthrough == [])
        #expect(configuration.listen.dkim == .tcp(host: "127.0.0.1", port: 8891))
        #expect(configuration.listen.dmarc == .tcp(host: "::1", port: 8892))
        #expect(configuration.listen.dns.last == .tcp(host: "::1", port: 5300))
        #expect(configuration.listen.mode == 0o666)
        #expect(configuration.log == LogSettings(to: .stderr, facility: .local3, format: .json, level: .debug))
        #expect(
            configuration.dns.upstreams == [
                .udp(host: "192.0.2.53", port: 53), .udp(host: "127.0.0.1", port: 5353),
                .udp(host: "2001:db8::53", port: 53), .udp(host: "2001:db8::54", port: 5353),
            ])
        #expect(configuration.dns.cacheOctets == 2_097_152)
        #expect(configuration.dns.negativeTTLMax == .seconds(5400))
        #expect(
            configuration.dkim.signing
                == DKIMSigningSettings(
                    headerCanonicalization: .simple, bodyCanonicalization: .relaxed, fields: ["Subject", "List-Id"],
                    expire: .seconds(14 * 86_400)))
        #expect(configuration.dkim.verification == DKIMVerificationSettings(minRSABits: 2048, maxSignatures: 3))
        #expect(configuration.dkim.keepPublished == .seconds(10 * 86_400))
        #expect(configuration.record == RecordSettings(keep: .seconds(7 * 86_400), octets: 64 << 20))
        Self.expectJudges(configuration)
        // What is told can be read again, and then means the same.
        let told = configuration.differences
        #expect(told.contains("negative_ttl_max = \"90m\""))
        #expect(read(told).flawless?.differences == told)
        for table in Configuration.schema where !table.isArray {
            for key in table.keys where !["policy", "rate", "static"].contains(key.name) {
                #expect(told.contains("\n\(key.name) = "), "\(table.path).\(key.name)")
            }
        }
    }

    /// The tables of judges, as `everything` writes them.
    private static func expectJudges(_ configuration: Configuration) {
        #expect(configuration.state.directory == "/srv/state")
        #expect(configuration.dns.timeout == .milliseconds(700))
        #expect(configuration.dns.ttl == .seconds(5) ... .seconds(7200))
        #expect(configuration.dns.stale == .zero)
        #expect(configuration.dns.staleKeys == .seconds(3600))
        #expect(configuration.dns.mixedCase)
        #expect(configuration.dns.zones.map(\.name) == [Example.name("dnsbl", "example")])
        #expect(configuration.dns.zones.map(\.upstreams) == [[.udp(host: "127.0.0.1", port: 5354)]])
        #expect(configuration.dns.zones.map(\.questionsPerSecond) == [5])
        #expect(configuration.dns.zones.map(\.stale) == [nil])
        #expect(
            configuration.spf
                == SPFSettings(
                    onFail: .reject, onSoftfail: .quarantine, onPermerror: .defer, onTemperror: .defer,
                    identities: [.helo], shadow: true))
        let dmarc = configuration.dmarc
        #expect([dmarc.onReject, dmarc.onQuarantine, dmarc.onTemperror] == [.reject, .hold, .defer])
        #expect([dmarc.onInvalidAuthor, dmarc.mailingList] == [.accept, .accept])
        #expect(dmarc.require == [.domain(Example.domain), .below(Example.name("example", "org"))])
        #expect(dmarc.discovery == .psl && dmarc.facts == .zero && dmarc.shadow)
        #expect(dmarc.exceptions.map(\.client) == [[Example.network]])
        #expect(dmarc.exceptions.map(\.reason) == [.mailingList])
        let dnsbl = configuration.dnsbl
        #expect(dnsbl.rejectScore == 5 && dnsbl.deferScore == 3 && dnsbl.budget == .seconds(2))
        #expect(dnsbl.tellsReason && dnsbl.shadow)
        let greylist = configuration.greylist
        #expect(greylist.clients == .suspicious && greylist.suspiciousScore == 2 && greylist.delay == .seconds(60))
        #expect(greylist.retryWithin == .seconds(4 * 3600) && greylist.remember == .seconds(10 * 86_400))
        #expect(greylist.ipv4Prefix == 32 && greylist.ipv6Prefix == 48 && greylist.shadow)
        #expect(
            greylist.skipClients.map(\.description) == ["192.0.2.0/24", "*.example.com", "mail.example.org"])
        #expect(greylist.skipSenders == [.addresses(at: Example.domain)])
        #expect(greylist.skipRecipients == [.expression("^postmaster@")])
        let server = StoreURL.Server(host: "store.example.net", port: 6379)
        #expect(
            configuration.store.url == StoreURL(scheme: .rediss, servers: [server], master: nil, database: 3))
        #expect(configuration.store.timeout == .milliseconds(50))
        #expect(configuration.store.user == "postern")
        #expect(configuration.store.passwordPath?.hasSuffix("/redis.password") == true)
        #expect(configuration.store.authoritiesPath?.hasSuffix("/store-ca.pem") == true)
    }

    @Test("authserv_id and name are both stripped by default")
    func strip() {
        let host = read("[host]\nauthserv_id = \"example.com\"").configuration?.host
        #expect(host?.stripAuthservIDs == ["example.com", "mx1.example.com"])
    }

    // MARK: Durations and sizes

    @Test(
        "durations",
        arguments: [
            ("0s", .zero), ("300ms", .milliseconds(300)), ("90s", .seconds(90)), ("5m", .seconds(300)),
            ("2h", .seconds(7200)), ("35d", .seconds(35 * 86_400)), ("007s", .seconds(7)), ("", nil), ("s", nil),
            ("5", nil), ("5 m", nil), (" 5m", nil), ("-5m", nil), ("+5m", nil), ("1.5h", nil), ("5M", nil),
            ("1h30m", nil),
            ("5w", nil), ("٥m", nil), ("5mm", nil), ("999999999999999d", nil), ("9999999999999999s", nil),
            ("99999999999999999999999999s", nil),
        ] as [(String, Duration?)])
    func durations(text: String, expected: Duration?) {
        #expect(Quantity.duration(text) == expected)
        if let expected { #expect(Quantity.duration(Quantity.duration(expected)) == expected) }
    }

    @Test("durations are written in their largest whole unit")
    func writtenDurations() {
        #expect(
            [.zero, .milliseconds(1500), .seconds(90), .seconds(120), .seconds(86_400 * 7)].map {
                Quantity.duration($0)
            }
                == ["0s", "1500ms", "90s", "2m", "7d"])
    }

    @Test(
        "sizes",
        arguments: [
            ("0", 0), ("1", 1), ("65536", 65_536), ("1KiB", 1024), ("64MiB", 64 << 20), ("2GiB", 2 << 30),
            ("64MB", nil),
            ("64 MiB", nil), ("64mib", nil), ("64M", nil), ("-1", nil), ("MiB", nil), ("", nil), ("1.5GiB", nil),
            ("999999999999999GiB", nil), ("9223372036854775807", nil),
        ] as [(String, Int?)])
    func sizes(text: String, expected: Int?) {
        #expect(Quantity.octets(text) == expected)
        if let expected { #expect(Quantity.octets(Quantity.size(expected)) == expected) }
    }

    // MARK: Lists in files

    @Test("a list may come from files: comments, empty lines, CRLF and values beside them")
    func listFiles() throws {
        let folder = try TemporaryFolder()
        try folder.write("nets", "# ours\n192.0.2.0/24\r\n\n  198.51.100.0/24 # office\n2001:db8::/32")
        try folder.write("logins", "ann#1\nbo # the other\n")
        let text = """
            [host]
            networks = ["file:nets", "203.0.113.0/24"]
            relays = "file:\(folder.path)/nets"
            passthrough = ["file:logins"]
            """
        let host = read(Array(text.utf8), folder: folder.path).flawless?.host
        let listed = ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"]
        #expect(host?.networks.map(\.description) == listed + ["203.0.113.0/24"])
        #expect(host?.relays.map(\.description) == listed)
        #expect(host?.passthrough == ["ann#1", "bo"])
    }

    @Test("problems in a list's file are told with its name and line, where the configuration names it")
    func listFileProblems() throws {
        let folder = try TemporaryFolder()
        try folder.write("nets", Array("10.0.0.0/8\n  10.0.0.1/8\n\nx\n".utf8) + [0xFF, 0x0A])
        let text = "[host]\nshadow = 1\nnetworks = \"file:nets\"\nname = 2\n"
        #expect(
            read(Array(text.utf8), folder: folder.path).problems.map(\.description) == [
                "postern.toml:2:10: host.shadow: expected true or false, found the integer 1",
                "\(folder.path)/nets:2:3: host.networks: expected a network without host bits, found \"10.0.0.1/8\"; "
                    + "do you mean \"10.0.0.0/8\"?",
                "\(folder.path)/nets:4:1: host.networks: expected an address or ADDRESS/LENGTH, found \"x\"",
                "\(folder.path)/nets:5:1: host.networks: expected UTF-8, found other octets",
                "postern.toml:4:8: host.name: expected a host name such as \"mx1.example.com\", found the integer 2",
            ])
    }

    @Test("a list is capped, its files counted")
    func listCap() throws {
        let folder = try TemporaryFolder()
        try folder.write("nets", String(repeating: "192.0.2.1\n", count: 20_000))
        let text = Array("[host]\nnetworks = \"file:nets\"".utf8)
        #expect(
            read(text, folder: folder.path).problems.map(\.description)
                == ["postern.toml:2:12: host.networks: expected at most 10000 values, found 10001"])
    }

    @Test("a daemon opens no file that another daemon's table names")
    func foreignFiles() throws {
        let text = """
            [dkim]
            sign_header_fields = "file:absent"
            [[dkim.key]]
            domain = "example.com"
            selector = "a"
            file = "absent"
            from = "file:absent"
            [dns]
            static = "absent"
            """
        #expect(read(text, for: .dns).problems.map(\.keyPath) == ["dns.static"])
        #expect(
            read(text, for: .dkim).problems.map(\.keyPath) == [
                "dkim.sign_header_fields", "dkim.key[1].file", "dkim.key[1].from",
            ])
        #expect(read(text, for: .check).problems.count == 4)
    }

    @Test("the static zone is read for postern-dns, and its mistakes are told with their line")
    func staticZone() throws {
        let folder = try TemporaryFolder()
        try folder.write("good.zone", "s._domainkey.example.com. 300 IN TXT \"v=DKIM1; p=\"\n")
        try folder.write("bad.zone", "example.com. 300 IN A 192.0.2.1\nexample.com. 300 IN A 192.0.2.999\n")
        let good = read(Array("[dns]\nstatic = \"good.zone\"".utf8), folder: folder.path, for: .dns)
        #expect(good.flawless?.dns.staticZonePath == "\(folder.path)/good.zone")
        let bad = read(Array("[dns]\nstatic = \"bad.zone\"".utf8), folder: folder.path, for: .dns)
        #expect(bad.problems.map(\.file) == ["\(folder.path)/bad.zone"])
        #expect(bad.problems.map(\.line) == [2])
        #expect(bad.problems.first?.text.hasPrefix("expected a zone file (RFC 1035 §5), found ") == true)
        #expect(bad.configuration == nil)
    }

    @Test("paths begin in the configuration's folder, wherever the process is")
    func folders() throws {
        #expect(FileReading.folder(of: "/etc/postern/postern.toml") == "/etc/postern")
        #expect(FileReading.folder(of: "/postern.toml") == "/")
        #expect(FileReading.folder(of: "a/postern.toml") == FileManager.default.currentDirectoryPath + "/a")
        #expect(FileReading.folder(of: "postern.toml") == FileManager.default.currentDirectoryPath)
        #expect(ValueReader(file: "f", folder: "/").path("x") == "/x")
        let folder = try TemporaryFolder()
        try folder.write("nets", "192.0.2.0/24\n")
        try folder.write("postern.toml", "[host]\nnetworks = \"file:nets\"\n")
        let result = Configuration.load(path: "\(folder.path)/postern.toml", for: .dkim)
        #expect(result.flawless?.host.networks.map(\.description) == ["192.0.2.0/24"])
    }

    @Test(
        "the nearest name",
        arguments: [
            ("verfy", "verify"), ("verfiy", "verify"), ("VERIFY", "verify"), ("athor", "author"), ("x", nil),
            ("signature", nil), ("verification", nil), ("max-signatures", "max_signatures"),
            (String(repeating: "verify", count: 100), nil),
        ] as [(String, String?)])
    func nearestNames(name: String, expected: String?) {
        #expect(nearest(to: name, in: ["verify", "author", "max_signatures", "expire"]) == expected)
    }
}

/// A folder below the system's temporary one, gone when this is.
final class TemporaryFolder {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.resolvingSymlinksInPath().path + "/postern-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o755])
    }
    deinit {
        try? FileManager.default.removeItem(atPath: path)  // what stays behind is the system's to clean
    }

    /// Writes a file that only its owner can read, unless `mode` says otherwise.
    func write(_ name: String, _ text: String, mode: Int = 0o600) throws {
        try write(name, Array(text.utf8), mode: mode)
    }
    func write(_ name: String, _ octets: [UInt8], mode: Int = 0o600) throws {
        try Data(octets).write(to: URL(filePath: "\(path)/\(name)"))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: "\(path)/\(name)")
    }
}
