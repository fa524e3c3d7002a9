// postern-dns between servers and clients that nobody here wrote: NSD's zones behind Unbound or BIND, asked by dig and
// dnsperf. What it hands on is what its upstream says, over UDP, TCP and the UNIX socket; and it lives through the deaths
// of those behind it.

import Foundation
import PostfixHarness
import Testing

@Suite(
    "DNS servers", .serialized, .onOwnThreads,
    .enabled(if: NameServer.areAvailable, "needs nsd, unbound, bind9, dnsperf, ldnsutils"))
struct DNSServersTests {
    private static let zone = """
        $ORIGIN dns.test.
        $TTL 3600
        @ SOA ns hostmaster 1 3600 600 86400 300
        @ NS ns
        @ MX 10 mx1
        @ MX 20 mx2
        @ A 192.0.2.1
        @ AAAA 2001:db8::1
        @ TXT "v=spf1 mx -all"
        ns A 127.0.0.1
        mx1 A 192.0.2.25
        mx2 AAAA 2001:db8::25
        _dmarc TXT "v=DMARC1; p=reject"
        _dmarc.short 1 TXT "v=DMARC1; p=none"
        s1._domainkey CNAME s2._domainkey
        s2._domainkey TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
        _smtp._tcp SRV 0 5 25 mx1
        long TXT \((0..<12).map { "\"\($0) \(String(repeating: "k", count: 240))\"" }.joined(separator: " "))

        """
    private static let bogus = """
        $ORIGIN bogus.test.
        $TTL 3600
        @ SOA ns.dns.test. hostmaster 1 3600 600 86400 300
        @ NS ns.dns.test.
        _dmarc TXT "v=DMARC1; p=none"

        """
    private static let zones = ["dns.test", "bogus.test"]

    /// NSD, Unbound and postern-dns, one behind the other.
    private final class Chain {
        let signed: [(name: String, text: String)]
        let anchors: String
        let nsd: NameServer
        var unbound: NameServer
        let dns: Daemon
        let port: UInt16
        let folder: TemporaryFolder

        /// - Parameter timeout: the longest there is, where nobody shall be late; shorter where somebody is dead.
        /// - Parameter upstream: what stands between Unbound and postern-dns.
        init(timeout: String = "10s", upstream: (NameServer) throws -> NameServer? = { _ in nil }) throws {
            let good = try NameServer.signed("dns.test", DNSServersTests.zone)
            let bad = try NameServer.signed("bogus.test", DNSServersTests.bogus)
            signed = [("dns.test", good.text), ("bogus.test", bad.text.replacing("p=none", with: "p=evil"))]
            anchors = good.anchor + bad.anchor
            nsd = try NameServer.nsd(zones: signed)
            unbound = try NameServer.unbound(zones: DNSServersTests.zones, source: nsd.port, anchors: anchors)
            folder = try TemporaryFolder()
            let last = try upstream(unbound)
            port = try FreePort.tcp()
            let file = try folder.write(
                "postern.toml",
                """
                [host]
                name = "mx1.example.org"
                [listen]
                dns = ["unix:\(folder.path)/dns.sock", "udp:127.0.0.1:\(port)", "tcp:127.0.0.1:\(port)"]
                control = "\(folder.path)"
                [log]
                to = "stderr"
                [state]
                directory = "\(folder.path)"
                [dns]
                upstream = ["127.0.0.1:\(last?.port ?? unbound.port)"]
                timeout = "\(timeout)"
                ttl_min = "1s"

                """)
            dns = try Daemon("postern-dns", configuration: file.path)
            between = last
        }
        /// What postern-dns asks instead of Unbound.
        let between: NameServer?

        func restartUnbound() throws {
            unbound = try NameServer.unbound(
                port: unbound.port, zones: DNSServersTests.zones, source: nsd.port, anchors: anchors)
        }

        /// The records and the status that dig shows, TTLs apart.
        func said(_ port: UInt16, _ words: [String]) throws -> [String] {
            try NameServer.dig(port, words).split(separator: "\n").compactMap { line in
                if let status = line.firstRange(of: "status: ") {
                    return line[status.upperBound...].prefix { $0 != "," }.description
                }
                guard !line.hasPrefix(";") else { return nil }
                let words = line.split(whereSeparator: \.isWhitespace)
                return (words.prefix(1) + words.dropFirst(2)).joined(separator: " ")
            }.sorted()
        }
    }

    private static let questions = [
        "dns.test A", "dns.test AAAA", "dns.test MX", "dns.test TXT", "dns.test SOA",
        "_dmarc.dns.test TXT", "s1._domainkey.dns.test TXT", "s2._domainkey.dns.test A", "_smtp._tcp.dns.test SRV",
        "long.dns.test TXT", "nothing.dns.test A", "x.nothing.dns.test TXT", "_domainkey.dns.test TXT",
        "_dmarc.bogus.test TXT",
    ]

    @Test("answers are those of Unbound, over UDP and TCP, once asked for and once kept")
    func answers() throws {
        let chain = try Chain()
        for question in Self.questions {
            let words = question.split(separator: " ").map(String.init)
            let expected = try chain.said(chain.unbound.port, words)
            // Unbound hands the zone's NS records on in the authority section; we hand on what was asked for.
            for transport in ["+notcp", "+tcp", "+noedns", "+notcp"] {
                #expect(try chain.said(chain.port, words + [transport]) == expected, "\(question) \(transport)")
            }
        }
        #expect(try chain.said(chain.port, ["_dmarc.bogus.test", "TXT"]) == ["SERVFAIL"])
        #expect(try NameServer.dig(chain.port, ["dns.test", "MX", "+adflag"]).contains(" ad; "))
        #expect(try NameServer.dig(chain.port, ["nothing.dns.test", "MX", "+adflag"]).contains(" ad; "))
        #expect(chain.dns.lines.allSatisfy { !$0.contains("warning") }, "\(chain.dns.lines)")
    }

    @Test("dnsperf: every question is answered")
    func load() throws {
        let chain = try Chain()
        let questions = Self.questions.dropLast()
        let file = try chain.folder.write("names", questions.joined(separator: "\n") + "\n")
        // One outstanding query a client and no rate: a datagram that the kernel drops would be our own fault.
        for transport in ["udp", "tcp"] {
            let run = try Program.run(
                "/usr/bin/dnsperf",
                [
                    "-s", "127.0.0.1", "-p", "\(chain.port)", "-m", transport, "-d", file.path, "-n", "100", "-c", "4",
                    "-q", "4", "-t", "600",
                ])
            #expect(
                run.text.contains("Queries completed:    \(100 * questions.count) (100.00%)"),
                "\(run.text)\n\(run.errors)")
            #expect(run.text.contains("NOERROR") && !run.text.contains("SERVFAIL"), "\(run.text)")
        }
        #expect(chain.dns.isRunning)
    }

    @Test(
        "the zone's servers die: what mail's authenticity hangs on is used stale, the rest is SERVFAIL; all comes back")
    func zoneDies() throws {
        let chain = try Chain(timeout: "1500ms")
        let policy = ["_dmarc.short.dns.test", "TXT"]
        #expect(try chain.said(chain.port, policy).contains("NOERROR"))
        chain.nsd.stop()
        // Its TTL of one second is over before long; RFC 8767 §4: a stale answer has a TTL of 30.
        try Await.until("a stale answer", context: { chain.dns.lines.joined(separator: "\n") }) {
            try NameServer.dig(chain.port, policy).contains("\t30\tIN\tTXT")
        }
        #expect(try chain.said(chain.port, ["fresh.dns.test", "A"]) == ["SERVFAIL"])
        let again = try NameServer.nsd(port: chain.nsd.port, zones: chain.signed)
        try chain.restartUnbound()  // it remembers failures longer than a test should last
        try Await.until("a fresh answer") { try chain.said(chain.port, ["mx1.dns.test", "A"]).contains("NOERROR") }
        again.stop()
    }

    @Test("the resolver dies and comes back: what is kept is answered meanwhile, the rest again")
    func resolverDies() throws {
        let chain = try Chain(timeout: "1500ms")
        #expect(try chain.said(chain.port, ["dns.test", "MX"]).contains("NOERROR"))
        chain.unbound.stop()
        #expect(try chain.said(chain.port, ["dns.test", "MX"]).contains("NOERROR"))
        #expect(try chain.said(chain.port, ["mx1.dns.test", "A"]) == ["SERVFAIL"])
        try chain.dns.await(line: "a warning") { $0.contains("warning: upstream 127.0.0.1:\(chain.unbound.port): ") }
        try chain.restartUnbound()
        try Await.until("an answer") { try chain.said(chain.port, ["mx1.dns.test", "A"]).contains("NOERROR") }
    }

    @Test("BIND, which demands cookies: its BADCOOKIE is understood")  // RFC 7873 §5.2.3, §5.3
    func bind() throws {
        let chain = try Chain { try NameServer.bind(zones: Self.zones, source: $0.port) }
        let bind = try #require(chain.between)
        #expect(try NameServer.dig(bind.port, ["dns.test", "A", "+nobadcookie"]).contains("BADCOOKIE"))
        for question in Self.questions.dropLast() {
            let words = question.split(separator: " ").map(String.init)
            #expect(
                try chain.said(chain.port, words) == chain.said(chain.unbound.port, words), "\(question)")
        }
        #expect(chain.dns.lines.allSatisfy { !$0.contains("warning") }, "\(chain.dns.lines)")
    }
}
