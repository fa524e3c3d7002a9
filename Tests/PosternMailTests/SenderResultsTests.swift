import PosternMail
import Testing

/// What postern-dmarc writes and logs of its findings.
@Suite("results of SPF and DMARC")
struct SenderResultsTests {
    static func domain(_ text: String) throws -> DomainName { try DomainName(text) }

    static func unfolded(_ field: HeaderField) -> String {
        String(decoding: field.value, as: UTF8.self).split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }

    static func mailFrom(_ sender: String, helo: String = "mx.example.org") -> SPFFinding.Identity {
        .mailFrom(MailFromIdentity(sender: Array(sender.utf8), helo: HELOIdentity(Array(helo.utf8))))
    }

    @Test(
        "SPF",
        arguments: [
            (  // RFC 8601 §2.7.2
                SPFFinding(result: .pass, reason: .matched, identity: mailFrom("ann@example.org"), mechanism: "mx"),
                "spf=pass (mx) smtp.mailfrom=ann@example.org", "spf=pass (mx) mailfrom=example.org"
            ),
            (
                SPFFinding(result: .neutral, reason: .noMatch, identity: mailFrom("ann@example.org")),
                "spf=neutral smtp.mailfrom=ann@example.org", "spf=neutral (no mechanism matched) mailfrom=example.org"
            ),
            (  // RFC 7208 §2.4: the null reverse-path is postmaster's
                SPFFinding(result: .none, reason: .noRecord, identity: mailFrom("")),
                "spf=none reason=\"no SPF record\" smtp.mailfrom=postmaster@mx.example.org",
                "spf=none (no SPF record) mailfrom=mx.example.org"
            ),
            (
                SPFFinding(result: .none, reason: .noDomain, identity: mailFrom("ann")),
                "spf=none reason=\"the sender has no domain\"", "spf=none (the sender has no domain)"
            ),
            (
                SPFFinding(
                    result: .pass, reason: .matched, identity: .helo(HELOIdentity(Array("MX.example.org".utf8))),
                    mechanism: "a"),
                "spf=pass (a) smtp.helo=MX.example.org", "spf=pass (a) helo=mx.example.org"
            ),
            (  // nothing of a stranger's can end the field or look like another result
                SPFFinding(
                    result: .none, reason: .badDomain("no name"),
                    identity: .helo(HELOIdentity(Array("x; dmarc=pass\r\nX: y".utf8)))),
                "spf=none reason=\"no domain that can be asked: no name\" smtp.helo=\"x? dmarc=pass??X: y\"",
                "spf=none (no domain that can be asked: no name)"
            ),
        ])
    func spf(_ finding: SPFFinding, _ text: String, _ log: String) throws {
        let dmarc = DMARCFinding(result: .permerror, reason: .noAuthor)
        let field = AuthenticationResults(authservID: "example.net", spf: [finding], dkim: [], dmarc: dmarc).field()
        #expect(
            Self.unfolded(field) == "example.net; \(text); dkim=none; dmarc=permerror reason=\"no From field\"")
        _ = try AuthenticationResultsParser.parse(field.value)
        #expect(finding.logText == log)
    }

    @Test("trouble with DNS tells strangers nothing of our resolvers, and the log all")
    func trouble() throws {
        let finding = SPFFinding(
            result: .temperror, reason: .dnsFailure(try Self.domain("example.org"), "SERVFAIL from 192.0.2.53"),
            identity: Self.mailFrom("ann@example.org"))
        let dmarc = DMARCFinding(
            result: .temperror, reason: .recordUnavailable(try Self.domain("example.org"), "SERVFAIL from 192.0.2.53"),
            authorDomain: try Self.domain("example.org"))
        let results = AuthenticationResults(authservID: "example.net", spf: [finding], dkim: [], dmarc: dmarc)
        #expect(!Self.unfolded(results.field()).contains("192.0.2.53"))
        #expect(finding.logText.contains("192.0.2.53") && dmarc.logText.contains("192.0.2.53"))
    }

    @Test("DMARC tells the author, the record's p and where it was found, and what of it governs")
    func dmarc() throws {
        var finding = DMARCFinding(
            result: .fail, reason: .notAligned, authorDomain: try Self.domain("mail.example.com"),
            organizationalDomain: try Self.domain("example.com"), policyDomain: try Self.domain("example.com"),
            published: DMARCPublishedPolicy(policy: .reject, subdomainPolicy: .quarantine, isTesting: true),
            policy: .quarantine, policyTag: .sp)
        func text() -> String {
            Self.unfolded(AuthenticationResults(authservID: "e", spf: [], dkim: [], dmarc: finding).field())
        }
        #expect(
            text()
                == "e; dkim=none; dmarc=fail (sp=quarantine t=y) reason=\"nothing that passed is aligned\" header.from=mail.example.com polrec.p=reject polrec.domain=example.com"
        )
        #expect(
            finding.logText
                == "dmarc=fail (nothing that passed is aligned) author=mail.example.com sp=quarantine t=y at=example.com"
        )
        finding.result = .pass
        finding.reason = .aligned
        finding.policyDomain = finding.authorDomain
        finding.policyTag = .p
        finding.published?.isTesting = false
        #expect(text() == "e; dkim=none; dmarc=pass header.from=mail.example.com polrec.p=reject")
    }

    @Test("the mark of quarantine names the check and the domain, on one line")
    func mark() throws {
        let field = DispositionMark.quarantine("dmarc", try Self.domain("example.com"))
        #expect(field == HeaderField("Postern-Disposition", "quarantine (dmarc example.com)"))
        #expect(DispositionMark.quarantine("dmarc", nil) == HeaderField("Postern-Disposition", "quarantine (dmarc)"))
        let odd = DispositionMark.quarantine("spf", try DomainName(labels: [Array("a)\r\nX: (".utf8)]))
        #expect(odd.value.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
        #expect(String(decoding: odd.value, as: UTF8.self) == " quarantine (spf a\\)\\013\\010x:\\032\\()")
    }

    @Test("marks of strangers are found in every spelling that Postfix takes for that name")
    func marks() {
        var collector = DispositionMarkCollector()
        for name in ["Postern-Disposition", "POSTERN-DISPOSITION ", "X-Postern-Disposition", "postern-disposition\t"] {
            collector.add(HeaderField(name: Array(name.utf8), value: []))
        }
        let name = Array("Postern-Disposition".utf8)
        #expect(
            collector.edits == [
                .remove(name: name, occurrence: 3), .remove(name: name, occurrence: 2),
                .remove(name: name, occurrence: 1),
            ])
    }

    @Test("actions are ordered from mild to strict")
    func actions() { #expect(MailAction.allCases.sorted() == [.accept, .quarantine, .hold, .defer, .reject]) }
}
