// What the doctor finds in DNS: this host's name, its signing domains, its keys, its lists; each from a zone that is
// right and one change of it.

import Foundation
import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("doctor: DNS") struct DoctorDNSTests {
    static let zone = """
        example.org. IN TXT "v=spf1 mx -all"
        example.org. IN MX 10 mx1.example.org.
        mx1.example.org. IN A 192.0.2.25
        25.2.0.192.in-addr.arpa. IN PTR mx1.example.org.
        _dmarc.example.org. IN TXT "v=DMARC1; p=reject; rua=mailto:dmarc@example.org"
        _mta-sts.example.org. IN TXT "v=STSv1; id=1"

        """

    struct Row: CustomTestStringConvertible, Sendable {
        let name: String
        let found: [String]
        let old: String
        let new: String
        let change: @Sendable (inout DoctorFixture) -> Void

        init(
            _ name: String, _ found: String..., old: String = "", new: String = "",
            change: @escaping @Sendable (inout DoctorFixture) -> Void = { _ in }
        ) {
            (self.name, self.found, self.old, self.new, self.change) = (name, found, old, new, change)
        }
        var testDescription: String { name }
    }

    static let rows = [
        Row("all right"),
        Row(
            "no address", "helo_name", old: "mx1.example.org. IN A 192.0.2.25\n", new: "mx1.example.org. IN TXT \"x\"\n"
        ),
        Row("no PTR", "ptr", old: "25.2.0.192.in-addr.arpa. IN PTR mx1.example.org.\n"),
        Row("another PTR", "warning:ptr", old: "PTR mx1", new: "PTR host25"),
        Row(
            "a second address without a PTR", "ptr", old: "mx1.example.org. IN A 192.0.2.25\n",
            new: "mx1.example.org. IN A 192.0.2.25\nmx1.example.org. IN AAAA 2001:db8::25\n",
            change: { _ in }),
        Row(
            "by a smarthost that is nobody's business", "note:ptr", old: "PTR mx1", new: "PTR host25",
            change: { $0.main["relayhost"] = "[smtp.example.net]" }),
        Row("a HELO that is no name", "helo_name", change: { $0.main["smtp_helo_name"] = "vm" }),
        Row(
            "a HELO of one transport", "helo_name",
            change: { $0.overrides["relay/unix/smtp_helo_name"] = "localhost" }),
        Row("a host name that is none", "helo_name") {
            $0.main["myhostname"] = "vm"
            $0.main["smtp_helo_name"] = "vm"
        },
        Row(
            "an address that the name lacks", "note:helo_name",
            change: { $0.machine.addresses = [.v4(0xC000_0219), .v4(0xC000_021A)] }),
        Row("an address behind NAT", change: { $0.machine.addresses = [.v4(0xCB00_7101)] }),
        Row("no SPF", "warning:spf", old: "example.org. IN TXT \"v=spf1 mx -all\"\n"),
        Row(
            "two SPF records", "spf", old: "example.org. IN MX",
            new: "example.org. IN TXT \"v=spf1 -all\"\nexample.org. IN MX"),
        Row("SPF without us", "spf_excludes_us", old: "v=spf1 mx -all", new: "v=spf1 ip4:198.51.100.1 -all"),
        Row(
            "SPF in doubt of us", "warning:spf_excludes_us", old: "v=spf1 mx -all",
            new: "v=spf1 ip4:198.51.100.1 ~all"),
        Row(
            "SPF without us, and a smarthost", old: "v=spf1 mx -all", new: "v=spf1 ip4:198.51.100.1 -all",
            change: { $0.main["relayhost"] = "[smtp.example.net]" }),
        Row("a mistake in SPF", "spf", old: "v=spf1 mx", new: "v=spf1 ipv4:192.0.2.25 mx"),
        Row(
            "no DMARC", "warning:dmarc",
            old: "_dmarc.example.org. IN TXT \"v=DMARC1; p=reject; rua=mailto:dmarc@example.org\"\n"),
        Row("DMARC without a policy", "warning:dmarc", old: "p=reject; rua=mailto:dmarc@example.org", new: "np=oops"),
        Row("a mistake in DMARC", "warning:dmarc", old: "p=reject", new: "p=reject; adkim=perhaps"),
        Row("a policy that asks for nothing", "note:dmarc", old: "p=reject", new: "p=none"),
        Row("MTA-STS without TLS", "warning:inbound_tls", change: { $0.main["smtpd_tls_security_level"] = "" }),
        Row(
            "TLSA without TLS", "inbound_tls", old: "_mta-sts.example.org. IN TXT \"v=STSv1; id=1\"\n",
            new: "_25._tcp.mx1.example.org. IN TYPE52 \\# 4 03010100\n",
            change: { $0.main["smtpd_tls_security_level"] = "" }),
        Row("a certificate missing", "warning:inbound_tls", change: { $0.main["smtpd_tls_chain_files"] = "" }),
        Row(
            "two MTA-STS records", "warning:inbound_tls", old: "_mta-sts",
            new: "_mta-sts.example.org. IN TXT \"v=STSv1; id=2\"\n_mta-sts"),
        Row("nothing asks for TLS", "note:inbound_tls", old: "_mta-sts.example.org. IN TXT \"v=STSv1; id=1\"\n"),
        Row(
            "mail for it goes elsewhere", "spf_excludes_us", old: "MX 10 mx1.example.org.",
            new: "MX 10 mx.example.net.",
            change: { $0.main["smtpd_tls_security_level"] = "" }),
    ]

    static func fixture() -> DoctorFixture {
        var fixture = DoctorFixture()
        fixture.main["smtpd_tls_security_level"] = "may"
        fixture.main["smtpd_tls_chain_files"] = "/etc/ssl/mx1.pem"
        return fixture
    }

    /// What is found of a host in its zone.
    static func findings(_ row: Row, _ fixture: DoctorFixture) throws -> [DoctorFinding] {
        let zone = row.old.isEmpty ? Self.zone : Self.zone.replacing(row.old, with: row.new)
        #expect(row.old.isEmpty || zone != Self.zone)
        let dns = try ZoneResolver(zone: zone)
        let found = DomainFindings(
            subject: try fixture.subject(), dns: { dns }, now: UnixTime(seconds: 1_795_000_000)
        ).all()
        return DoctorFinding.merged(found)
    }

    static func findings(_ row: Row) throws -> [DoctorFinding] {
        var fixture = Self.fixture()
        row.change(&fixture)
        return try findings(row, fixture)
    }

    @Test("what is proposed silences it", arguments: rows) func mended(row: Row) throws {
        var fixture = Self.fixture()
        row.change(&fixture)
        for finding in try Self.findings(row, fixture) {
            let isComplete = finding.mends.allSatisfy { if case .command = $0 { true } else { false } }
            guard isComplete else { continue }
            var copy = fixture
            try copy.apply(finding)
            let after = try Self.findings(row, copy)
            #expect(!after.contains { $0.id == finding.id }, "\(finding.lines)\(after.map(\.lines).joined())")
        }
    }

    @Test("names and domains", arguments: rows) func domains(row: Row) throws {
        let findings = try Self.findings(row)
        #expect(DoctorWiringTests.shown(findings) == row.found, "\(findings.map(\.lines).joined())")
        #expect(findings.allSatisfy { !$0.mends.isEmpty && !$0.why.isEmpty })
    }

    @Test("what DNS does not answer is no finding about names") func silent() throws {
        let names = ["example.org", "mx1.example.org", "_dmarc.example.org", "25.2.0.192.in-addr.arpa"]
        let dns = try ZoneResolver(zone: Self.zone, failing: Set(names.map { try DomainName($0) }))
        let subject = try Self.fixture().subject()
        let findings = DomainFindings(subject: subject, dns: { dns }, now: UnixTime(seconds: 0)).all()
        #expect(DoctorWiringTests.shown(findings) == [], "\(findings.map(\.lines).joined())")
        let silence = DNSFindings(subject: subject, dns: { dns }).silence()
        #expect(silence?.id == .dnsSilent && silence?.severity == .error)
    }

    @Test("DNS that answers is not silent") func answering() throws {
        let dns = try ZoneResolver(zone: Self.zone)
        #expect(DNSFindings(subject: try Self.fixture().subject(), dns: { dns }).silence() == nil)
    }

    @Test(
        "lists prove themselves",
        arguments: [
            ("2.0.0.127.bl.example. IN A 127.0.0.2\n", []),
            ("2.0.0.127.bl.example. IN A 127.255.255.254\n", ["warning:list_refused"]),
            ("bl.example. IN TXT \"gone\"\n", ["warning:list_refused"]),
            ("2.0.0.127.bl.example. IN A 127.0.0.2\n1.0.0.127.bl.example. IN A 127.0.0.2\n", ["warning:list_refused"]),
        ]) func lists(zone: String, expected: [String]) throws
    {
        var fixture = Self.fixture()
        fixture.toml += "[[dnsbl.list]]\nzone = \"bl.example\"\nscores = { \"127.0.0.2\" = 4 }\n"
        let dns = try ZoneResolver(zone: zone)
        let findings = DNSFindings(subject: try fixture.subject(), dns: { dns })
            .lists(now: UnixTime(seconds: 1_795_000_000))
        #expect(DoctorWiringTests.shown(findings) == expected, "\(findings.map(\.lines).joined())")
    }

    /// What is found of a key whose record is so.
    /// - Parameter result: in the words of `postern dkim testkey`.
    static func keyFindings(_ result: String) throws -> [DoctorFinding] {
        let folder = try Folder()
        let made = try Postern()(
            "dkim", "genkey", "--domain", "example.org", "--selector", "s1", "--ed25519", "--out",
            folder.file("s1.pem"),
            "--json")
        let published = try #require(try made.json()["value"] as? String)
        let entry = "[[dkim.key]]\ndomain = \"example.org\"\nselector = \"s1\"\nfile = \"\(folder.file("s1.pem"))\"\n"
        let read = Configuration.read(Array(entry.utf8), file: "p.toml", folder: "/", for: .check, as: .current)
        let configured = try #require(read.readable?.dkim.entries.first)
        let key = NamedKey(
            name: try DKIMKeyName(domain: "example.org", selector: "s1"),
            privateKey: try configured.privateKey(for: .current))
        let values = [
            "ok": published, "revoked": "v=DKIM1; k=ed25519; p=",
            "mismatch": "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        ]
        let zone = values[result].map { "s1._domainkey.example.org. IN TXT \"\($0)\"\n" } ?? "x.org. IN A 192.0.2.1\n"
        let tests = try KeyFindings.tests(of: [key], config: "/etc/p o.toml", dns: try ZoneResolver(zone: zone))
        #expect(tests.map(\.result) == [result])
        return KeyFindings.all(tests, requirePublished: true)
    }

    @Test("keys are published and the same", arguments: ["ok", "mismatch", "nxdomain", "revoked"])
    func keys(result: String) throws {
        let findings = try Self.keyFindings(result)
        // The only key of its domain does not rest.
        #expect(DoctorWiringTests.shown(findings) == (result == "ok" ? [] : ["dkim_key"]))
        #expect(
            findings.allSatisfy { $0.lines.contains("--config '/etc/p o.toml' --domain example.org --selector s1") })
    }

    @Test("a key that rests while another one is published is a warning", arguments: [true, false])
    func resting(isRequired: Bool) throws {
        let folder = try Folder()
        var records: [String] = []
        var keys: [NamedKey] = []
        for selector in ["s1", "s2"] {
            let file = folder.file("\(selector).pem")
            let made = try Postern()(
                "dkim", "genkey", "--domain", "example.org", "--selector", selector, "--ed25519", "--out", file,
                "--json")
            records.append(try #require(try made.json()["value"] as? String))
            let entry = "[[dkim.key]]\ndomain = \"example.org\"\nselector = \"\(selector)\"\nfile = \"\(file)\"\n"
            let read = Configuration.read(Array(entry.utf8), file: "p.toml", folder: "/", for: .check, as: .current)
            let configured = try #require(read.readable?.dkim.entries.first)
            keys.append(
                NamedKey(
                    name: try DKIMKeyName(domain: "example.org", selector: selector),
                    privateKey: try configured.privateKey(for: .current)))
        }
        let first = try #require(records.first)
        let dns = try ZoneResolver(zone: "s1._domainkey.example.org. IN TXT \"\(first)\"\n")
        let tests = try KeyFindings.tests(of: keys, config: nil, dns: dns)
        #expect(tests.map(\.result) == ["ok", "nxdomain"])
        let findings = KeyFindings.all(tests, requirePublished: isRequired)
        #expect(DoctorWiringTests.shown(findings) == [isRequired ? "warning:dkim_key" : "dkim_key"])
    }
}
