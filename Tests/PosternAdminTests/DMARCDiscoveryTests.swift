// `dmarc`: walks as text and as JSON, which policy governs, and the exit statuses.

import Foundation
import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("dmarc") struct DMARCDiscoveryTests {
    private let zone = """
        _dmarc.example.com. TXT "v=DMARC1; p=reject; sp=quarantine; np=none; pct=50; x=y"
        _dmarc.example.com. TXT "v=spf1 -all"
        mail.example.com. A 192.0.2.1
        example.com. A 192.0.2.1
        _dmarc.example.net. TXT "v=DMARC1; p=none"
        _dmarc.example.net. TXT "v=DMARC1; p=reject; p=none"
        example.net. A 192.0.2.1
        _dmarc.test.example.org. TXT "v=DMARC1; p=reject; psd=n; t=y"
        test.example.org. A 192.0.2.1
        _dmarc.example.org. TXT "v=DMARC1; p=none"
        _dmarc.bank. TXT "v=DMARC1; p=reject; psd=y"
        one.bank. A 192.0.2.1
        _dmarc.no.test. TXT "v=DMARC1; p=maybe"
        no.test. A 192.0.2.1

        """

    @Test(
        "walks",
        arguments: [
            (
                "example.com", 0,
                """
                _dmarc.example.com: "v=DMARC1; p=reject; sp=quarantine; np=none; pct=50; x=y"
                  mistake: pct= is obsolete
                  mistake: unknown tag x=
                  no policy record: "v=spf1 -all"
                _dmarc.com: no record
                organizational domain: example.com
                policy: reject, by p= of example.com

                """
            ),
            (
                "mail.example.com", 0,  // RFC 9989 §4.10.1: sp= for what exists
                """
                _dmarc.mail.example.com: no record
                _dmarc.example.com: "v=DMARC1; p=reject; sp=quarantine; np=none; pct=50; x=y"
                  mistake: pct= is obsolete
                  mistake: unknown tag x=
                  no policy record: "v=spf1 -all"
                _dmarc.com: no record
                organizational domain: example.com
                policy: quarantine, by sp= of example.com

                """
            ),
            (
                "gone.example.com", 0,  // and np= for what does not
                """
                _dmarc.gone.example.com: no record
                _dmarc.example.com: "v=DMARC1; p=reject; sp=quarantine; np=none; pct=50; x=y"
                  mistake: pct= is obsolete
                  mistake: unknown tag x=
                  no policy record: "v=spf1 -all"
                _dmarc.com: no record
                organizational domain: example.com
                policy: none, by np= of example.com; gone.example.com does not exist

                """
            ),
            (
                "example.net", 1,  // RFC 9989 §4.10 step 2
                """
                _dmarc.example.net: several records, which count as none
                  record: "v=DMARC1; p=none"
                  record: "v=DMARC1; p=reject; p=none"
                  mistake: p= is given twice; the first one holds
                _dmarc.net: no record
                organizational domain: example.net
                policy: not found (no policy record)

                """
            ),
            (
                "test.example.org", 0,  // RFC 9989 §4.10.2 step 1
                """
                _dmarc.test.example.org: "v=DMARC1; p=reject; psd=n; t=y"
                _dmarc.example.org: "v=DMARC1; p=none" (does not count)
                _dmarc.org: no record (does not count)
                organizational domain: test.example.org
                policy: reject, by p= of test.example.org; t=y leaves quarantine

                """
            ),
            (
                "one.bank", 0,  // RFC 9989 §4.10.2 step 2
                """
                _dmarc.one.bank: no record
                _dmarc.bank: "v=DMARC1; p=reject; psd=y"
                organizational domain: one.bank
                policy: reject, by p= of bank

                """
            ),
            (
                "no.test", 1,  // RFC 9989 §4.10.1: no valid p= and no rua=
                """
                _dmarc.no.test: "v=DMARC1; p=maybe"
                  mistake: p= has no valid value
                _dmarc.test: no record
                organizational domain: no.test
                policy: not found (policy record without a usable policy)

                """
            ),
            (
                "a.down.test", 69,
                """
                _dmarc.a.down.test: no record
                _dmarc.down.test: temporary failure: SERVFAIL
                _dmarc.test: no record
                organizational domain: unknown
                policy: unknown (no answer for down.test: SERVFAIL)

                """
            ),
        ] as [(String, Int32, String)])
    func walks(domain: String, status: Int32, text: String) throws {
        let postern = Postern(zone: zone, failing: [try DomainName("_dmarc.down.test")])
        let result = try postern("dmarc", domain)
        #expect(result.text == text)
        #expect(result.status == status)
        #expect(result.resolvers == [.daemon(.unix(path: "/run/postern/dns.sock"))])
        #expect(Set(result.questions).count == result.questions.count, "asked once")
        #expect(try postern("dmarc", "--json", domain).status == status)
    }

    @Test(
        "JSON",
        arguments: [
            (
                "Mail.example.COM.",
                #"{"domain":"mail.example.com","exists":true,"walk":["#
                    + #"{"name":"_dmarc.mail.example.com","result":"none","counts":true,"records":[],"mistakes":[],"#
                    + #""ignored":[],"reason":null},{"name":"_dmarc.example.com","result":"record","counts":true,"#
                    + #""records":["v=DMARC1; p=reject; sp=quarantine; np=none; pct=50; x=y"],"#
                    + #""mistakes":["pct= is obsolete","unknown tag x="],"ignored":["v=spf1 -all"],"reason":null},"#
                    + #"{"name":"_dmarc.com","result":"none","counts":true,"records":[],"mistakes":[],"ignored":[],"#
                    + #""reason":null}],"organizational_domain":"example.com","policy_domain":"example.com","#
                    + #""policy":"quarantine","tag":"sp","testing":false,"reason":null}"#
            ),
            (
                "down.test",
                #"{"domain":"down.test","exists":false,"walk":[{"name":"_dmarc.down.test","result":"temperror","#
                    + #""counts":true,"records":[],"mistakes":[],"ignored":[],"reason":"SERVFAIL"},"#
                    + #"{"name":"_dmarc.test","result":"none","counts":true,"records":[],"mistakes":[],"ignored":[],"#
                    + #""reason":null}],"organizational_domain":"down.test","policy_domain":null,"policy":null,"#
                    + #""tag":null,"testing":null,"reason":"no answer for down.test: SERVFAIL"}"#
            ),
            (
                "test",
                #"{"domain":"test","exists":true,"walk":[{"name":"_dmarc.test","result":"none","counts":true,"#
                    + #""records":[],"mistakes":[],"ignored":[],"reason":null}],"organizational_domain":"test","#
                    + #""policy_domain":null,"policy":null,"tag":null,"testing":null,"reason":"no policy record"}"#
            ),
        ])
    func json(domain: String, expected: String) throws {
        let postern = Postern(zone: zone, failing: [try DomainName("_dmarc.down.test")])
        #expect(try postern("dmarc", "--json", domain).text == expected + "\n")
    }

    @Test("whether the domain exists matters where np= is another policy, RFC 9989 §4.10.1") func existence() throws {
        let postern = Postern(zone: zone, failing: [try DomainName("mail.example.com")])
        let result = try postern("dmarc", "mail.example.com")
        #expect(result.text.hasSuffix("policy: unknown (cannot tell whether mail.example.com exists: no answer)\n"))
        #expect(result.status == 69)
        let json = try postern("dmarc", "mail.example.com", "--json").json()
        #expect(json["exists"] is NSNull && json["policy"] is NSNull)
        #expect(json["policy_domain"] as? String == "example.com")
    }

    @Test("long names: at most 8 are asked, and one with no room for _dmarc is none of them") func long() throws {
        let deep = try Postern(zone: zone)("dmarc", "a.b.c.d.e.f.g.h.i.example.com")
        #expect(deep.text.split(separator: "\n").filter { $0.hasPrefix("_dmarc.") }.count == 8)
        #expect(deep.text.hasSuffix("np= of example.com; a.b.c.d.e.f.g.h.i.example.com does not exist\n"))
        let label = String(repeating: "x", count: 63)
        let name = "\(label).\(label).\(label).\(String(repeating: "y", count: 49)).example.com"
        let result = try Postern(zone: zone)("dmarc", name)
        #expect(result.text.hasPrefix("_dmarc.\(name): too long to be asked\n"))
        #expect(result.status == 0)
    }

    @Test("a record's octets do not reach a terminal or break a line") func octets() throws {
        let zone =
            #"_dmarc.example.com. TXT "v=DMARC1; p=none; rua=mailto:\027[2J\010\255""# + "\n"
            + #"_dmarc.com. TXT "\027\200""# + "\n"
        let result = try Postern(zone: zone)("dmarc", "example.com")
        #expect(result.text.utf8.allSatisfy { (0x20...0x7E).contains($0) || $0 == 0x0A })
        #expect(result.text.hasPrefix(#"_dmarc.example.com: "v=DMARC1; p=none; rua=mailto:\027[2J\010\255""# + "\n"))
        #expect(result.text.contains("  mistake: rua= has no valid value\n_dmarc.com: no record\n"))
        #expect(result.text.contains(#"  no policy record: "\027\200""# + "\n"))
        let json = try Postern(zone: zone)("dmarc", "example.com", "--json")
        #expect(json.text.dropLast().unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F })
        #expect(try json.json()["policy"] as? String == "none")
    }

    @Test("by the public suffix list: the domain and its organizational domain, no others") func publicSuffixList()
        throws
    {
        let list = PublicSuffixList(text: try Fixtures.octets("psl/public_suffix_list-20230209.dat"))
        let dns = try ZoneResolver(
            zone:
                "_dmarc.example.co.uk. TXT \"v=DMARC1; p=reject; sp=none\"\n_dmarc.co.uk. TXT \"v=DMARC1; p=none; psd=y\"\n"
        )
        let found = DiscoveredPolicy(
            of: try DomainName("a.mail.example.co.uk"), by: .publicSuffixList(list), dns: dns)
        #expect(
            found.lines == """
                _dmarc.a.mail.example.co.uk: no record
                _dmarc.example.co.uk: "v=DMARC1; p=reject; sp=none"
                organizational domain: example.co.uk
                policy: none, by sp= of example.co.uk; a.mail.example.co.uk does not exist

                """)
        #expect(dns.asked.count == 3)
    }

    @Test("--discovery psl reads Debian's list, or says that it is not there") func debiansList() throws {
        let result = try Postern(zone: zone)("dmarc", "--discovery", "psl", "x.mail.example.com")
        if FileManager.default.fileExists(atPath: PublicSuffixFile.path) {
            #expect(result.status == 0)
            #expect(result.text.contains("organizational domain: example.com\n"))
            #expect(!result.text.contains("_dmarc.mail.example.com"))
        } else {
            #expect(result.status == 69)
            #expect(result.notes.contains("is the package publicsuffix installed?"))
        }
    }
}
