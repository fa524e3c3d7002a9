import PosternAuth
import PosternMail
import PosternMilter
import TestSupport
import Testing

@testable import postern_dkim

private let mail = """
    From: Ann <ann@example.org>
    To: bo@example.net
    Subject: hello
    Date: Sat, 21 Nov 2026 00:00:00 +0000

    Hello Bo.

    """

@Suite("postern-dkim, message by message")
struct SigningFilterTests {
    // MARK: Ours

    @Test("ours is signed with every key, and what was signed verifies")
    func signAndVerify() throws {
        let bench = try FilterBench()
        let verdict = bench.session("127.0.0.1", name: "localhost").send(mail)
        #expect(verdict.disposition == .accept)
        #expect(verdict.inserted.map(\.lowercasedName) == [Array("dkim-signature".utf8), Array("dkim-signature".utf8)])
        #expect(
            bench.log.lines == [
                "4abc: sign: END-OF-MESSAGE from localhost[127.0.0.1]: d=example.org s=r a=rsa-sha256, d=example.org s=e a=ed25519-sha256; from=<ann@example.org>"
            ])
        let judged = bench.session("192.0.2.7").send(
            verdict.applied(to: MessageText(octets: mail.utf8)), queueID: "4abd")
        #expect(judged.results?.hasPrefix("example.net; dkim=pass") == true)
        #expect(judged.results?.components(of: "dkim=pass") == 2)
        #expect(
            bench.log.lines.last
                == "4abd: verify: END-OF-MESSAGE from mx.example.net[192.0.2.7]: dkim=pass d=example.org s=e a=ed25519-sha256, dkim=pass d=example.org s=r a=rsa-sha256; from=<ann@example.org>"
        )
        #expect(bench.log.warnings.isEmpty)
    }

    @Test(
        "who is ours",
        arguments: [
            ("127.0.0.1", 4711, nil, nil), ("::1", 4711, nil, nil), ("10.1.2.3", 4711, nil, nil),
            ("192.0.2.7", 4711, "ann", nil),
            ("192.0.2.7", 4711, nil, "ORIGINATING"), ("127.0.0.1", 0, nil, nil), ("::ffff:10.0.0.1", 4711, nil, nil),
        ] as [(String, UInt16, String?, String?)])
    func ours(_ address: String, _ port: UInt16, _ login: String?, _ daemon: String?) throws {
        let bench = try FilterBench()
        let verdict = bench.session(address, port: port, daemon: daemon).send(mail, login: login)
        #expect(verdict.inserted.count == 2)
        #expect(bench.log.lines.first?.contains(": sign: ") == true)
    }

    @Test("sendmail(1) is ours also where host.networks leaves loopback out")
    func simulated() throws {
        var bench = try FilterBench()
        bench.service = SigningService(
            origin: OriginSettings(networks: []), authservID: "example.net", ownIDs: AuthservIDs(["example.net"]),
            verify: true,
            verification: .init(), signing: .init(), authorRule: .any, keys: bench.service.keys, publicKeys: .init(),
            log: bench.log, now: bench.service.now, dns: bench.service.dns)
        #expect(bench.session("127.0.0.1", port: 0).send(mail).inserted.count == 2)
        #expect(bench.session("127.0.0.1", port: 5).send(mail).results == "example.net; dkim=none")
    }

    @Test(
        "ours without a key, or without one author, passes and says why",
        arguments: [
            ("From: ann@other.example\n\nx\n", "no key for other.example"),
            ("From: ann@example.org\nFrom: bo@example.org\n\nx\n", "several From fields"),
            ("From: ann@example.org, bo@example.org\n\nx\n", "2 authors"),
            ("Subject: x\n\nx\n", "no From"),
            ("From: ann@example.org <ann@example.org> <bo@evil.example>\n\nx\n", ""),
        ])
    func unsigned(_ text: String, _ reason: String) throws {
        let bench = try FilterBench()
        let verdict = bench.session("127.0.0.1").send(text)
        #expect(verdict.edits.isEmpty)
        #expect(verdict.disposition == .accept)
        let line = try #require(bench.log.lines.first)
        #expect(line.contains(": pass: END-OF-MESSAGE from mx.example.net[127.0.0.1]: not signed: "))
        #expect(reason.isEmpty || line.contains(reason), "\(line)")
    }

    @Test(
        "dkim.author = envelope and login",
        arguments: [
            (AuthorRule.envelope, "ann@example.org", nil, true), (.envelope, "ann@other.example", nil, false),
            (.envelope, "", nil, false),
            (.login, "x@example.org", "ann", true), (.login, "x@example.org", "eve", false),
            (.login, "x@example.org", nil, false),
        ] as [(AuthorRule, String, String?, Bool)])
    func rules(_ rule: AuthorRule, _ sender: String, _ login: String?, _ signed: Bool) throws {
        let bench = try FilterBench(rule: rule, users: ["ann"])
        #expect(bench.session("127.0.0.1").send(mail, from: sender, login: login).inserted.isEmpty != signed)
    }

    // MARK: Neither ours nor a stranger's

    @Test(
        "passes, but forged results go",
        arguments: [
            ("203.0.113.9", nil, "", "from a relay of ours"),
            ("192.0.2.7", "REINJECT", "", "through a service in host.passthrough"),
            ("127.0.0.1", nil, "Received: from evil\n", "brought back through loopback"),
            ("::1", nil, "received : from evil\n", "brought back through loopback"),
        ] as [(String, String?, String, String)])
    func untouched(_ address: String, _ daemon: String?, _ field: String, _ text: String) throws {
        let bench = try FilterBench()
        let verdict = bench.session(address, daemon: daemon).send(
            field + "Authentication-Results: example.net; dkim=pass\n" + mail)
        #expect(verdict.removed() == [1])
        #expect(verdict.inserted.isEmpty)
        let line = try #require(bench.log.lines.first)
        #expect(line.contains(": pass: ") && line.contains(text) && line.contains("1 forged"), "\(line)")
    }

    @Test("a login is ours, with whatever Received fields")
    func loginWithReceived() throws {
        let bench = try FilterBench()
        #expect(bench.session("192.0.2.7").send("Received: by webmail\n" + mail, login: "ann").inserted.count == 2)
    }

    // MARK: Strangers'

    @Test("unsigned: one field of ours that says so, and the body is not asked for")
    func none() throws {
        let bench = try FilterBench()
        let filter = bench.session("192.0.2.7")
        filter.mail(Envelope(mailFrom: []))
        filter.header(HeaderField("From", "ann@example.org"))
        #expect(filter.endOfHeader(queueID: "4a") == .enough)
        let verdict = filter.endOfMessage()
        #expect(verdict.results == "example.net; dkim=none")
        #expect(bench.log.lines == ["4a: verify: END-OF-MESSAGE from mx.example.net[192.0.2.7]: dkim=none; from=<>"])
        #expect(bench.zone.asked.isEmpty)
    }

    @Test("an altered body fails, DNS trouble is temperror, no key is permerror")
    func failures() throws {
        let signed = try FilterBench().session("127.0.0.1").send(mail).applied(to: MessageText(octets: mail.utf8))
        var altered = signed
        altered.body.append(contentsOf: Array("P.S.\r\n".utf8))
        let bench = try FilterBench()
        #expect(bench.session("192.0.2.7").send(altered).results?.components(of: "dkim=fail") == 2)
        #expect(bench.log.lines.first?.contains("dkim=fail (body hash did not verify) d=example.org") == true)
        let dead = try FilterBench(failing: [
            DomainName("r._domainkey.example.org"), DomainName("e._domainkey.example.org"),
        ])
        #expect(dead.session("192.0.2.7").send(signed).results?.components(of: "dkim=temperror") == 2)
        var other = signed
        other.header = signed.header.map { field in
            HeaderField(
                name: field.name,
                value: Array(
                    String(decoding: field.value, as: UTF8.self).replacing("s=r;", with: "s=x;").replacing(
                        "s=e;", with: "s=y;"
                    ).utf8))
        }
        #expect(bench.session("192.0.2.7").send(other).results?.components(of: "dkim=permerror") == 2)
    }

    @Test("a signature holds until x=, and no second longer", arguments: [(3600, "pass"), (3601, "permerror")])
    func expiry(_ seconds: Int, _ result: String) throws {
        var bench = try FilterBench()
        bench.service.signing.expire = .seconds(3600)
        let signed = bench.session("127.0.0.1").send(mail).applied(to: MessageText(octets: mail.utf8))
        bench.clock.advance(by: .seconds(seconds))
        #expect(bench.session("192.0.2.7").send(signed).results?.components(of: "dkim=\(result)") == 2)
    }

    @Test("keys are prefetched while a long body comes in, once", arguments: [(65_535, 2), (65_534, 0)])
    func prefetch(_ chunk: Int, _ expected: Int) throws {
        let body = [UInt8](repeating: 0x61, count: 2 * chunk) + [0x0D, 0x0A]
        var message = MessageText(octets: mail.utf8)
        message.body = body
        let signed = try FilterBench().session("127.0.0.1").send(message).applied(to: message)
        let bench = try FilterBench()
        let filter = bench.session("192.0.2.7")
        filter.mail(Envelope(mailFrom: []))
        for field in signed.header { filter.header(field) }
        #expect(filter.endOfHeader(queueID: "4a") == .wanted)
        for start in [0, chunk] { _ = filter.body(body.span.extracting(start..<(start + chunk))) }
        #expect(bench.zone.prefetched.count == expected)
        _ = filter.body(body.span.extracting((2 * chunk)...))
        #expect(filter.endOfMessage().results?.components(of: "dkim=pass") == 2)
    }

    @Test("dkim.verify = false leaves strangers' mail alone but for forged results")
    func unverified() throws {
        let bench = try FilterBench(verify: false)
        let verdict = bench.session("192.0.2.7").send("Authentication-Results: example.net; spf=pass\n" + mail)
        #expect(verdict.removed() == [1] && verdict.inserted.isEmpty)
    }

    // MARK: Forged results

    @Test("forged results go from the highest index down, before ours is added")
    func forged() throws {
        let bench = try FilterBench()
        let verdict = bench.session("192.0.2.7").send(
            """
            Authentication-Results: example.net; dkim=pass
            Authentication-Results: other.example; dkim=pass header.d=example.net
            authentication-results: mx1.EXAMPLE.net; spf=pass
            AUTHENTICATION-RESULTS : "example.net" 1; spf=pass

            """ + mail)
        #expect(verdict.removed() == [4, 3, 1])
        #expect(verdict.edits.count == 4)
        if case .insertOnTop = verdict.edits.last {} else { Issue.record("ours is added last") }
        #expect(bench.log.lines.first?.contains("dkim=none, 3 forged Authentication-Results removed") == true)
    }

    @Test("also from our own mail")
    func forgedByUs() throws {
        let bench = try FilterBench()
        let verdict = bench.session("127.0.0.1").send("Authentication-Results: example.net; dkim=pass\n" + mail)
        #expect(verdict.removed() == [1])
        #expect(verdict.inserted.count == 2)
    }

    @Test("more than 50 are refused", arguments: ["192.0.2.7", "127.0.0.1", "203.0.113.9"])
    func tooMany(_ address: String) throws {
        let bench = try FilterBench()
        let forged = String(repeating: "Authentication-Results: example.net; dkim=pass\n", count: 51)
        let verdict = bench.session(address).send(forged + mail)
        guard case .refuse(let reply) = verdict.disposition else {
            Issue.record("accepted")
            return
        }
        #expect(reply.code == 550 && reply.enhanced == "5.7.1")
        #expect(
            bench.log.lines.first?.contains("4abc: reject: END-OF-MESSAGE from mx.example.net[\(address)]: 550 5.7.1 ")
                == true)
        #expect(bench.session(address).send(String(forged.dropFirst(47)) + mail).disposition == .accept)
    }

    // MARK: Caps and state

    @Test("a header over the caps is permerror, and hides neither its author nor forged results")
    func overCaps() throws {
        let signed = try FilterBench().session("127.0.0.1").send(mail).applied(to: MessageText(octets: mail.utf8))
        let bench = try FilterBench()
        var big = signed
        big.header.insert(contentsOf: repeatElement(HeaderField("X", "y"), count: HeaderCollector.maxFields), at: 0)
        big.header.append(HeaderField("Authentication-Results", "example.net; dkim=pass"))
        let verdict = bench.session("192.0.2.7").send(big)
        #expect(verdict.removed() == [1])
        #expect(verdict.results?.hasPrefix("example.net; dkim=permerror") == true)
        let own = bench.session("127.0.0.1").send(big)
        #expect(own.removed() == [1] && own.inserted.isEmpty)
        #expect(bench.log.lines.last?.contains("not signed: the header is over") == true)
    }

    @Test("messages of one session do not know of each other")
    func session() throws {
        let bench = try FilterBench()
        let filter = bench.session("127.0.0.1")
        #expect(filter.send("Received: by x\nAuthentication-Results: example.net; dkim=pass\n" + mail).inserted.isEmpty)
        filter.mail(Envelope(mailFrom: []))
        filter.header(HeaderField("Received", "by x"))
        filter.abort()
        let verdict = filter.send(mail)
        #expect(verdict.removed().isEmpty && verdict.inserted.count == 2)
    }

    @Test("calls out of order do no harm")
    func disorder() throws {
        let filter = try FilterBench().session("192.0.2.7")
        filter.header(HeaderField("From", "x"))
        #expect(filter.endOfHeader(queueID: nil) == .enough)
        #expect(filter.body([1].span) == .enough)
        #expect(filter.endOfMessage().edits.isEmpty)
        filter.abort()
    }
}

extension String {
    /// How often `text` stands in it.
    fileprivate func components(of text: String) -> Int { ranges(of: text).count }
}
