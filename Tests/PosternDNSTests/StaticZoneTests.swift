import PosternMail
import TestSupport
import Testing

@testable import PosternDNS

@Suite("static zone")
struct StaticZoneTests {
    static let text = """
        $TTL 300
        www.example.org.      A     192.0.2.1
        www.example.org.      AAAA  2001:db8::1
        www.example.org. 60   A     192.0.2.2   ; the set takes the smaller TTL
        alias.example.org.    CNAME www.example.org.
        out.example.org.      CNAME www.example.com.
        far.example.org.      CNAME out.example.org.
        loop.example.org.     CNAME pool.example.org.
        pool.example.org.     CNAME loop.example.org.
        *.wild.example.org.   TXT   "here" "and" "there"
        a.b.wild.example.org. TXT   "deep"
        s._domainkey.example.org. TXT ( "v=DKIM1; p="
                                        "QUJD" )
        empty.example.org.    TXT   ""
        mail.example.org.     MX    10 www.example.org.
        2.2.0.192.in-addr.arpa. PTR www.example.org.
        $ORIGIN corp.test.
        @          SOA ns hostmaster 1 2 3 4 50
                   NS  ns
        ns         A   192.0.2.53
        a.ent      A   192.0.2.54
        sub        NS  ns.sub
        ns.sub     A   192.0.2.55
        cn         CNAME nowhere
        """
    let zone: StaticZone
    init() throws { zone = try StaticZone(text: Self.text) }

    func question(_ text: String) throws -> Question {
        let words = text.split(separator: " ").map(String.init)
        return Question(try DomainName(words[0]), try #require(RecordType(words[1])))
    }

    @Test(
        "what it answers",
        arguments: [
            ("www.example.org A", "192.0.2.1 192.0.2.2 ttl=60"),  // RFC 2181 §5.2
            ("WWW.Example.ORG AAAA", "2001:db8::1 ttl=300"),  // RFC 4343 §3
            ("www.example.org MX", "nodata"),
            ("alias.example.org A", "192.0.2.1 192.0.2.2 ttl=60"),  // RFC 1034 §3.6.2
            ("alias.example.org CNAME", "www.example.org ttl=300"),
            ("alias.example.org MX", "nodata"),
            ("loop.example.org A", "failure"),
            ("x.wild.example.org TXT", "hereandthere ttl=300"),  // RFC 4592 §3.3
            ("x.y.wild.example.org TXT", "hereandthere ttl=300"),
            ("x.wild.example.org A", "nodata"),
            ("wild.example.org TXT", "upstream"),  // RFC 4592 §2.1.1: the wildcard's parent is not the wildcard's
            ("b.wild.example.org TXT", "upstream"),  // RFC 4592 §2.2.2: it exists, empty
            ("x.b.wild.example.org TXT", "upstream"),  // RFC 4592 §3.3.1: the closest encloser has no wildcard
            ("x.a.b.wild.example.org TXT", "upstream"),
            ("*.wild.example.org TXT", "hereandthere ttl=300"),
            ("s._domainkey.example.org TXT", "v=DKIM1; p=QUJD ttl=300"),
            ("empty.example.org TXT", " ttl=300"),
            ("mail.example.org MX", "10 www.example.org ttl=300"),
            ("2.2.0.192.in-addr.arpa PTR", "www.example.org ttl=300"),
            ("example.org TXT", "upstream"), ("other.example.org A", "upstream"), ("org NS", "upstream"),
            ("out.example.org A", "then www.example.com A"), ("far.example.org TXT", "then www.example.com TXT"),
            ("corp.test NS", "ns.corp.test ttl=300"), ("corp.test A", "nodata ttl=50"),  // RFC 2308 §5
            ("nothing.corp.test A", "nxdomain ttl=50"), ("x.y.corp.test A", "nxdomain ttl=50"),
            ("ent.corp.test A", "nodata ttl=50"),  // RFC 8020 §2: an empty non-terminal exists
            ("x.ent.corp.test A", "nxdomain ttl=50"),
            ("cn.corp.test A", "nxdomain ttl=50"),  // RFC 2308 §2.1
            ("ns.sub.corp.test A", "192.0.2.55 ttl=300"), ("x.sub.corp.test A", "upstream"),  // RFC 1034 §4.2.1
            ("corp.test SOA", "ns.corp.test 50 ttl=300"),
        ])
    func lookup(_ asked: String, _ expected: String) throws {
        #expect(describe(zone.lookup(try question(asked))) == expected)
    }

    @Test(
        "what is wrong, and where",
        arguments: [
            ("a.test. A 192.0.2.1\nb.test. A 192.0.2.256\n", 2),
            ("a.test. A 192.0.2.1\n\n; x\nb.test. NONSENSE x\n", 4),
            ("$INCLUDE /etc/passwd\n", 1), ("a.test. CH A 192.0.2.1\n", 1),
            ("a.test. CNAME b.test.\na.test. TXT x\n", 2), ("a.test. TXT x\na.test. CNAME b.test.\n", 2),
            ("a.test. CNAME b.test.\na.test. CNAME c.test.\n", 2),  // RFC 2181 §10.1
            ("a.test. TXT \"\(String(repeating: "x", count: 256))\"\n", 1),
            ("\(String(repeating: "x", count: 64)).test. A 192.0.2.1", 1),
            ("a.test. TXT x\nb.test. TXT \0\n", 2),
        ])
    func wrong(_ text: String, _ line: Int) {
        #expect { try StaticZone(text: text) } throws: { ($0 as? MasterFileError)?.line == line }
    }

    @Test("forms of a master file", arguments: ["", "\n", "; only a comment", "$TTL 5\n", "  \n\t\n"])
    func emptyFiles(_ text: String) throws { #expect(try StaticZone(text: text).recordCount == 0) }

    @Test("relative names, the last line without its end, long TXT")
    func forms() throws {
        let long = String(repeating: "k", count: 255)
        let origin = try DomainName("example.net")
        let zone = try StaticZone(text: "www 10 IN A 192.0.2.9\n\n@ TXT \"\(long)\" \"\(long)\" tail", origin: origin)
        #expect(zone.recordCount == 2)
        #expect(describe(zone.lookup(try question("www.example.net A"))) == "192.0.2.9 ttl=10")
        #expect(describe(zone.lookup(Question(origin, .txt))) == "\(long)\(long)tail ttl=3600")
    }

    @Test("octets of TXT survive exactly")  // RFC 1035 §5.1
    func octets() throws {
        let zone = try StaticZone(text: #"a.test. TXT "\000\255 \"\\; x" y"#)
        guard case .complete(let found)? = zone.lookup(try question("a.test TXT")) else {
            Issue.record("no answer")
            return
        }
        #expect(found.answer == .records([.txt([0, 255, 0x20, 0x22, 0x5C, 0x3B, 0x20, 0x78, 0x79])], ttl: 3600))
    }

    @Test("a damaged file is read or refused, never a trap")
    func mutations() {
        Mutations.of(
            [Array(Self.text.utf8)],
            tokens: ["\"", "(", ")", "\\", "$ORIGIN ", "$TTL ", "* ", "\n"].map { Array($0.utf8) },
            count: 3000, seed: 11
        ) { text in
            // Either way is right: what is asserted is that reading ends.
            if let zone = try? StaticZone(text: text) { _ = zone.lookup(Question(.root, .a)) }
        }
    }

    @Test("a judge's resolver from a zone")
    func resolver() throws {
        let resolver = try ZoneResolver(zone: Self.text, failing: [DomainName("www.example.com")])
        let asked = try [
            "www.example.org MX", "out.example.org A", "absent.example.org A", "example.org TXT", "www.example.com A",
        ].map(question)
        #expect(
            resolver.answers(to: asked) == [
                .noData, .temporaryFailure("SERVFAIL"), .noSuchName, .noData, .temporaryFailure("SERVFAIL"),
            ])
        #expect(resolver.asked == asked)
    }

    func describe(_ finding: StaticZone.Finding?) -> String {
        switch finding {
        case nil: "upstream"
        case .continues(_, let question): "then \(question)"
        case .complete(let resolution): describe(resolution)
        }
    }

    func describe(_ resolution: Resolution) -> String {
        let ttl = resolution.ttl > 0 ? " ttl=\(resolution.ttl)" : ""
        switch resolution.answer {
        case .noData: return "nodata" + ttl
        case .noSuchName: return "nxdomain" + ttl
        case .temporaryFailure: return "failure"
        case .records(let data, _):
            return data.map { data in
                switch data {
                case .a(let address), .aaaa(let address): "\(address)"
                case .mx(let preference, let exchange): "\(preference) \(exchange)"
                case .txt(let text): String(decoding: text, as: UTF8.self)
                case .ptr(let name), .ns(let name), .cname(let name): "\(name)"
                case .soa(let primary, let minimum): "\(primary) \(minimum)"
                case .other(let type, _): "\(type)"
                }
            }.joined(separator: " ") + ttl
        }
    }
}
