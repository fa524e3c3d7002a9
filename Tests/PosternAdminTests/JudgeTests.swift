// `judge`: each rule from findings to the verdict as JSON, the lines for people, the settings that count, and that odd
// senders are data. The judges themselves are tested where they live.

import Foundation
import PosternDNS
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("judge") struct JudgeTests {
    /// Three tiers of policies, an open SPF record and a closed one.
    private static let zone = """
        example.com. TXT "v=spf1 ip4:192.0.2.1 -all"
        mail.example.com. TXT "v=spf1 ip4:192.0.2.1 -all"
        _dmarc.example.com. TXT "v=DMARC1; p=reject; sp=quarantine; np=reject"
        news.example.com. A 192.0.2.1
        strict.example. TXT "v=spf1 ip4:192.0.2.1 ~all"
        _dmarc.strict.example. TXT "v=DMARC1; p=reject; aspf=s"
        test.example. A 192.0.2.1
        _dmarc.test.example. TXT "v=DMARC1; p=reject; t=y"
        soft.example. A 192.0.2.1
        _dmarc.soft.example. TXT "v=DMARC1; p=quarantine"
        watch.example. A 192.0.2.1
        _dmarc.watch.example. TXT "v=DMARC1; p=none"
        list.example. TXT "v=spf1 ip4:192.0.2.9 -all"
        broken.example. TXT "v=spf1 ipv4:192.0.2.1 -all"

        """

    /// One message and what becomes of it.
    struct Row: CustomTestStringConvertible {
        var name: String
        var from: String
        var client = "192.0.2.9"
        var sender = "bo@list.example"
        var header = ""
        var toml = ""
        /// Of `dmarc`: result, policy, applied; then the verdict.
        var expected: String
        var status: Int32
        var testDescription: String { name }
    }

    private static let rows = [
        Row(
            name: "aligned SPF passes", from: "ann@example.com", client: "192.0.2.1", sender: "ann@mail.example.com",
            expected: "pass reject none accept", status: 0),
        Row(
            name: "p=reject alone is no reason to reject, RFC 9989 §7.4", from: "ann@example.com",
            expected: "fail reject quarantine quarantine", status: 1),
        Row(
            name: "on_reject = reject", from: "ann@example.com", toml: "[dmarc]\non_reject = \"reject\"\n",
            expected: "fail reject reject reject", status: 1),
        Row(
            name: "on_reject = hold is to quarantine", from: "ann@example.com",
            toml: "[dmarc]\non_reject = \"hold\"\n", expected: "fail reject quarantine quarantine", status: 1),
        Row(
            name: "a list that passes SPF for itself", from: "ann@example.com", header: "List-Id: <x.list.example>\r\n",
            toml: "[dmarc]\non_reject = \"reject\"\nmailing_list = \"accept\"\n",
            expected: "fail reject none accept", status: 0),
        Row(
            name: "List-Id without SPF pass is anyone's word", from: "ann@example.com", client: "192.0.2.8",
            header: "List-Id: <x.list.example>\r\n",
            toml: "[dmarc]\non_reject = \"reject\"\nmailing_list = \"accept\"\n",
            expected: "fail reject reject reject", status: 1),
        Row(
            name: "sp for a subdomain that exists", from: "ann@news.example.com",
            expected: "fail quarantine quarantine quarantine", status: 1),
        Row(
            name: "np for one that does not", from: "ann@nowhere.example.com",
            toml: "[dmarc]\non_reject = \"reject\"\n", expected: "fail reject reject reject", status: 1),
        Row(
            name: "t=y leaves one level less", from: "ann@test.example", toml: "[dmarc]\non_reject = \"reject\"\n",
            expected: "fail reject quarantine quarantine", status: 1),
        Row(
            name: "on_quarantine = accept", from: "ann@soft.example", toml: "[dmarc]\non_quarantine = \"accept\"\n",
            expected: "fail quarantine none accept", status: 0),
        Row(name: "p=none", from: "ann@watch.example", expected: "fail none none accept", status: 0),
        Row(
            name: "a domain that must pass, whatever it publishes", from: "ann@watch.example",
            toml: "[dmarc]\non_reject = \"reject\"\nrequire = [\"watch.example\"]\n",
            expected: "fail none reject reject", status: 1),
        Row(name: "no record", from: "ann@nothing.example", expected: "none null none accept", status: 0),
        Row(
            name: "a trusted forwarder", from: "ann@example.com",
            toml: "[dmarc]\non_reject = \"reject\"\n[[dmarc.exception]]\nclient = [\"192.0.2.9\"]\n",
            expected: "fail reject none accept", status: 0),
        Row(
            name: "shadow", from: "ann@example.com", toml: "[host]\nshadow = true\n[dmarc]\non_reject = \"reject\"\n",
            expected: "fail reject none accept", status: 0),
        Row(
            name: "[spf] alone rejects, and DMARC applied nothing", from: "ann@watch.example", client: "192.0.2.8",
            toml: "[spf]\non_fail = \"reject\"\n", expected: "fail none none reject", status: 1),
        Row(
            name: "SPF permerror defers", from: "ann@watch.example", sender: "x@broken.example",
            toml: "[spf]\non_permerror = \"defer\"\n", expected: "fail none none defer", status: 69),
        Row(
            name: "DNS trouble lets mail flow", from: "ann@down.example", expected: "temperror null none accept",
            status: 0),
        Row(
            name: "or defers it", from: "ann@down.example", toml: "[dmarc]\non_temperror = \"defer\"\n",
            expected: "temperror null none defer", status: 69),
        Row(
            name: "several From fields", from: "ann@example.com", header: "From: <bo@list.example>\r\n",
            expected: "permerror null reject reject", status: 1),
        Row(
            name: "of two authors the strictest failing policy, RFC 9989 §11.5", from: "a@soft.example, b@example.com",
            toml: "[dmarc]\non_reject = \"reject\"\n", expected: "fail reject reject reject", status: 1),
    ]

    private static func words(_ row: Row, in folder: Folder) throws -> [String] {
        let octets = Array("From: \(row.from)\r\n\(row.header)To: x@example.org\r\n\r\nHello\r\n".utf8)
        let file = try folder.write(octets, to: "message")
        let configuration = try folder.write(row.toml, to: "postern.toml")
        return [
            "judge", "--config", configuration, "--client", row.client, "--helo", "mx.list.example", "--sender",
            row.sender, file,
        ]
    }

    @Test("from findings to verdicts", arguments: rows) func verdicts(row: Row) throws {
        let folder = try Folder()
        let postern = Postern(zone: Self.zone, failing: [try DomainName("_dmarc.down.example")])
        let words = try Self.words(row, in: folder)
        let result = try postern.run(words + ["--json"])
        let json = try result.json()
        let dmarc = try #require(json["dmarc"] as? [String: Any])
        let found = ["result", "policy", "applied"].map { dmarc[$0] as? String ?? "null" }
        #expect((found + [json["verdict"] as? String ?? "null"]).joined(separator: " ") == row.expected)
        #expect(result.status == row.status)
        #expect(Set(json.keys) == ["spf", "dkim", "dmarc", "verdict", "header"])
        #expect(
            Set(dmarc.keys) == [
                "result", "domain", "organizational_domain", "policy_domain", "policy", "applied", "testing",
                "aligned_spf", "aligned_dkim", "reason",
            ])
        #expect((json["header"] as? String)?.contains("dmarc=\(found.first ?? "")") == true)
        #expect(try postern.run(words).status == row.status)
    }

    @Test("the whole of one, as JSON") func whole() throws {
        let folder = try Folder()
        let row = Row(
            name: "", from: "ann@nowhere.example.com", sender: "",
            toml:
                "[host]\nname = \"mx1.example.org\"\nauthserv_id = \"example.org\"\n[dmarc]\non_reject = \"reject\"\n",
            expected: "", status: 1)
        let result = try Postern(zone: Self.zone).run(try Self.words(row, in: folder) + ["--json"])
        let reason = #""neither SPF nor DKIM passed""#
        #expect(
            result.text
                == #"{"spf":{"mailfrom":{"result":"none","domain":"mx.list.example","reason":"no SPF record"},"#
                + #""helo":{"result":"none","domain":"mx.list.example","reason":"no SPF record"}},"dkim":[],"#
                + #""dmarc":{"result":"fail","domain":"nowhere.example.com","organizational_domain":"example.com","#
                + #""policy_domain":"example.com","policy":"reject","applied":"reject","testing":false,"#
                + #""aligned_spf":false,"aligned_dkim":false,"reason":\#(reason)},"verdict":"reject","#
                + #""header":"Authentication-Results: example.org; spf=none reason=\"no SPF record\" "#
                + #"smtp.mailfrom=postmaster@mx.list.example; spf=none reason=\"no SPF record\" "#
                + #"smtp.helo=mx.list.example; dkim=none; dmarc=fail (np=reject) "#
                + #"reason=\"neither SPF nor DKIM passed\" header.from=nowhere.example.com polrec.p=reject "#
                + #"polrec.domain=example.com"}"# + "\n")
    }

    @Test("the lines for people: findings, the verdict with its reply, what shadow hides, the field") func lines()
        throws
    {
        let folder = try Folder()
        var row = Row(
            name: "", from: "ann@example.com", client: "192.0.2.8",
            toml: "[host]\nname = \"mx1.example.org\"\n[dmarc]\non_reject = \"reject\"\n", expected: "", status: 1)
        let text = try Postern(zone: Self.zone).run(try Self.words(row, in: folder)).text
        #expect(
            text.hasPrefix("spf=fail (-all) mailfrom=list.example\nspf=none (no SPF record) helo=mx.list.example\n"))
        #expect(text.contains("\ndkim=none\ndmarc=fail (neither SPF nor DKIM passed) "))
        #expect(text.contains("\nverdict: reject: 550 5.7.26 "))
        #expect(text.contains("\nAuthentication-Results: mx1.example.org;\n\tspf=fail (-all)"))
        row.toml += "shadow = true\n"
        let hidden = try Postern(zone: Self.zone).run(try Self.words(row, in: folder))
        #expect(hidden.text.contains("\nverdict: accept\nwithout shadow: reject: 550 5.7.26 "))
        #expect(hidden.status == 0)
    }

    @Test("a signature is judged as dkim verify does, and aligns") func signed() throws {
        let keys = try Keys()
        let signed = try Postern(input: plain).run(["dkim", "sign", "-"] + keys.options)
        let file = try keys.folder.write(signed.output.octets, to: "signed")
        let postern = Postern(zone: Self.zone + keys.zone)
        let words = ["--resolver", "::1", "--json", file]
        let result = try postern.run(
            ["judge", "--client", "192.0.2.9", "--helo", "h", "--sender", "bo@list.example"] + words)
        let verified = try postern.run(["dkim", "verify"] + words).json()["signatures"] as? [[String: Any]]
        let json = try result.json()
        #expect(result.status == 0)
        #expect((json["dkim"] as? [[String: Any]]).map { NSArray(array: $0) } == verified.map { NSArray(array: $0) })
        let dmarc = try #require(json["dmarc"] as? [String: Any])
        #expect(dmarc["result"] as? String == "pass")
        #expect(dmarc["aligned_dkim"] as? Bool == true && dmarc["aligned_spf"] as? Bool == false)
    }

    @Test("odd senders and HELO names are data", arguments: ["", " ", "a@b...c", "-a", "--json", "<>", "a@\u{1B}[2J"])
    func odd(text: String) throws {
        let postern = Postern(zone: Self.zone, input: plain)
        for (helo, sender) in [(text, "bo@list.example"), ("mx.example.com", text), (text, text)] {
            let result = try postern(
                "judge", "--resolver", "::1", "--client", "192.0.2.9", "--helo", helo, "--sender", sender, "-")
            #expect(result.status == 1, "\(helo) \(sender): \(result.notes)")  // by DMARC
            #expect(result.text.utf8.allSatisfy { (0x20...0x7E).contains($0) || $0 == 0x0A || $0 == 0x09 })
        }
        let equals = try postern(
            "judge", "--resolver", "::1", "--client=192.0.2.9", "--helo=", "--sender=", "--json", "-")
        #expect(try equals.json()["verdict"] as? String == "quarantine")
    }

    @Test("what the daemon does otherwise is told") func notes() throws {
        let postern = Postern(zone: Self.zone, input: plain)
        let ours = try postern("judge", "--client", "127.0.0.1", "--helo", "h", "--sender", "a@b.example", "-")
        #expect(ours.notes.contains("127.0.0.1 is in host.networks"))
        let flood = String(repeating: "Postern-Disposition: quarantine\r\n", count: 51)
        let refused = try Postern(zone: Self.zone, input: Array(flood.utf8) + plain)(
            "judge", "--client", "192.0.2.9", "--helo", "h", "--sender", "a@b.example", "--json", "-")
        #expect(try refused.json()["verdict"] as? String == "reject")
    }
}
