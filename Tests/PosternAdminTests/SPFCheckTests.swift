// `spf`: each result as a line and as JSON, its exit status, and that odd senders are judged, not refused.

import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("spf") struct SPFCheckTests {
    private let zone = """
        example.com. TXT "v=spf1 ip4:192.0.2.1 include:_spf.example.net ?ip4:192.0.2.9 -all exp=why.example.com"
        _spf.example.net. TXT "v=spf1 ip4:192.0.2.2 ~all"
        why.example.com. TXT "%{i} may not \\"%{s}\\" at %{r}"
        mx.example.com. TXT "v=spf1 ip4:192.0.2.3 ~all"
        open.example.com. TXT "v=spf1 ip6:2001:db8::/32"
        broken.example.com. TXT "v=spf1 ipv4:192.0.2.1 -all"

        """

    @Test(
        "results",
        arguments: [
            (
                "192.0.2.1", "ann@example.com", 0,
                #"pass (a mechanism matched) domain=example.com mechanism="ip4:192.0.2.1" lookups=0"#,
                #""result":"pass","explanation":null,"mechanism":"ip4:192.0.2.1","lookups":0,"#
                    + #""reason":"a mechanism matched""#
            ),
            (
                "::ffff:192.0.2.2", "ann@example.com", 0,  // RFC 7208 §5
                #"pass (a mechanism matched) domain=example.com mechanism="include:_spf.example.net" lookups=1 "#
                    + #"way="example.com include:_spf.example.net, _spf.example.net ip4:192.0.2.2""#,
                #""result":"pass","explanation":null,"mechanism":"include:_spf.example.net","lookups":1,"#
                    + #""reason":"a mechanism matched""#
            ),
            (
                "192.0.2.4", "ann@example.com", 1,
                #"fail (a mechanism matched) domain=example.com mechanism="-all" lookups=1 "#
                    + #"explanation="192.0.2.4 may not \"ann@example.com\" at unknown""#,
                #""result":"fail","explanation":"192.0.2.4 may not \"ann@example.com\" at unknown","#
                    + #""mechanism":"-all","lookups":1,"reason":"a mechanism matched""#
            ),
            (
                "192.0.2.9", "ann@example.com", 0,
                #"neutral (a mechanism matched) domain=example.com mechanism="?ip4:192.0.2.9" lookups=1"#,
                #""result":"neutral","explanation":null,"mechanism":"?ip4:192.0.2.9","lookups":1,"#
                    + #""reason":"a mechanism matched""#
            ),
            (
                "192.0.2.1", "ann@open.example.com", 0,
                "neutral (no mechanism matched) domain=open.example.com lookups=0",
                #""result":"neutral","explanation":null,"mechanism":null,"lookups":0,"reason":"no mechanism matched""#
            ),
            (
                "2001:db8::1", "ann@open.example.com", 0,
                #"pass (a mechanism matched) domain=open.example.com mechanism="ip6:2001:db8::/32" lookups=0"#,
                #""result":"pass","explanation":null,"mechanism":"ip6:2001:db8::/32","lookups":0,"#
                    + #""reason":"a mechanism matched""#
            ),
            (
                "192.0.2.1", "ann@none.example.com", 0, "none (no SPF record) domain=none.example.com lookups=0",
                #""result":"none","explanation":null,"mechanism":null,"lookups":0,"reason":"no SPF record""#
            ),
            (
                "192.0.2.1", "ann@down.example.com", 69,
                "temperror (down.example.com not available: SERVFAIL) domain=down.example.com lookups=0",
                #""result":"temperror","explanation":null,"mechanism":null,"lookups":0,"#
                    + #""reason":"down.example.com not available: SERVFAIL""#
            ),
            // RFC 7208 §2.4: the null reverse-path is postmaster at the HELO name
            (
                "192.0.2.1", "", 0,
                #"softfail (a mechanism matched) domain=mx.example.com mechanism="~all" lookups=0"#,
                #""result":"softfail","explanation":null,"mechanism":"~all","lookups":0,"#
                    + #""reason":"a mechanism matched""#
            ),
        ] as [(String, String, Int32, String, String)])
    func results(client: String, sender: String, status: Int32, line: String, json: String) throws {
        let postern = Postern(zone: zone, failing: [try DomainName("down.example.com")])
        // --resolver: so that no configuration of this machine gives a name for %{r}.
        let words = ["spf", "--resolver", "::1", "--client", client, "--helo", "mx.example.com", "--sender", sender]
        let result = try postern.run(words)
        #expect(result.text == line + "\n")
        #expect(result.status == status)
        #expect(result.resolvers == [.server(.v6(0, 1), port: 53)])
        let other = try postern.run(words + ["--json"])
        #expect(other.text == "{\(json)}\n")
        #expect(other.status == status)
    }

    @Test("a record that is wrong is permerror, 1, and says what is wrong") func permanent() throws {
        let result = try Postern(zone: zone)(
            "spf", "--client", "192.0.2.1", "--helo", "mx.example.com", "--sender", "ann@broken.example.com", "--json")
        #expect(result.status == 1)
        let json = try result.json()
        #expect(json["result"] as? String == "permerror")
        #expect((json["reason"] as? String)?.contains("ipv4:192.0.2.1") == true)
    }

    @Test("odd senders and HELO names are judged, RFC 7208 §4.3") func odd() throws {
        for sender in ["a@b...c", " ", "a b@c d", "@", "ann", "-a", "--json", "<>", "a@[192.0.2.1]", "a@\u{1B}[2J.com"]
        {
            let result = try Postern(zone: zone)(
                "spf", "--client", "192.0.2.1", "--helo", "mx.example.com", "--sender", sender)
            #expect(result.status == 0, "\(sender)")
            #expect(result.text.hasPrefix("none ("), "\(sender)")
            #expect(result.text.dropLast().utf8.allSatisfy { (0x20...0x7E).contains($0) }, "\(sender): \(result.text)")
            #expect(result.questions.isEmpty, "\(sender)")
        }
        for helo in ["", " ", "a@b...c", "[192.0.2.1]", "-h", "--client", "localhost"] {
            for (sender, expected) in [("", "none ("), ("ann@example.com", "pass (")] {
                let result = try Postern(zone: zone)(
                    "spf", "--client", "192.0.2.1", "--helo", helo, "--sender", sender)
                #expect(result.status == 0, "\(helo)")
                #expect(result.text.hasPrefix(expected), "\(helo) \(sender): \(result.text)")
            }
        }
    }

    @Test("an empty value behind \"=\" is one, and the next word is not taken for it") func emptyValues() throws {
        let result = try Postern(zone: zone)(
            "--resolver", "::1", "spf", "--sender=", "--json", "--client", "192.0.2.3", "--helo=mx.example.com")
        #expect(try result.json()["mechanism"] as? String == "ip4:192.0.2.3")
        let helo = try Postern(zone: zone)("spf", "--client=192.0.2.1", "--sender=", "--helo=")
        #expect(helo.text == "none (no domain that can be asked: no name) lookups=0\n")
        let odd = try Postern(zone: zone)("spf", "--client=192.0.2.1", "--sender", "--helo=", "--helo", "--sender=")
        #expect(odd.text == "none (the sender has no domain) lookups=0\n")
        #expect(try Postern()("spf", "--client=192.0.2.1", "--helo", "a.example", "--sender").status == 64)
    }

    @Test("an explanation names this host as the configuration does") func receiver() throws {
        let folder = try Folder()
        let file = try folder.write("[host]\nname = \"mx1.example.org\"\n", to: "postern.toml")
        let result = try Postern(zone: zone)(
            "--config", file, "spf", "--client", "192.0.2.4", "--helo", "h.example", "--sender", "ann@example.com")
        #expect(result.text.hasSuffix("at mx1.example.org\"\n"))
        #expect(result.resolvers == [.daemon(.unix(path: "/run/postern/dns.sock"))])
    }
}
