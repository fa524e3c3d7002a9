// Greylisting as a sender meets it (RFC 6647): whole sequences of tries, with the clock and the memory of the test's.

import AdmissionSupport
import PosternDNS
import PosternMail
import Synchronization
import TestSupport
import Testing

@testable import PosternAdmission

@Suite("greylisting")
struct GreylistJudgeTests {
    /// One server that greylists, and what SPF says to it.
    private final class Server: Sendable {
        let judge: GreylistJudge
        let memory = InMemoryGreylist()
        let clock = ScriptedClock(noon)
        private let policy = Mutex<(result: SPFResult, terms: [String])>((.none, []))
        let spfAsked = Mutex(0)

        init(_ settings: GreylistSettings = GreylistJudgeTests.settings()) throws {
            judge = try GreylistJudge(settings, ledger: memory)
        }

        func spf(_ result: SPFResult, _ terms: String...) { policy.withLock { $0 = (result, terms) } }

        /// A try to deliver; nil where greylisting does not concern it.
        func attempt(
            _ client: String = "192.0.2.7", from sender: String = "ann@example.org",
            to recipient: String = "bo@example.com",
            helo: String = "mx.example.net", score: Int = 0, isForced: Bool = false, telling: PolicyTelling = .outcome
        ) -> PolicyFinding? {
            let request = request([
                .clientAddress: client, .sender: sender, .recipient: recipient, .heloName: helo,
            ])
            guard judge.concerns(request, score: score, isForced: isForced) else { return nil }
            return judge.finding(
                for: request, score: score, isForced: isForced, telling: telling, now: clock.now()
            ) {
                spfAsked.withLock { $0 += 1 }
                let policy = policy.withLock { $0 }
                let identity = MailFromIdentity(sender: Array(sender.utf8), helo: HELOIdentity(Array(helo.utf8)))
                return SPFFinding(
                    result: policy.result, reason: .matched, identity: .mailFrom(identity),
                    mechanism: policy.terms.first,
                    chain: policy.terms.compactMap { term in
                        identity.domain.map { SPFStep(domain: $0, term: term) }
                    })
            }
        }
    }

    private static func settings(
        _ clients: GreylistClients = .all, skipClients: [MatchPattern] = [], skipSenders: [MatchPattern] = [],
        skipRecipients: [MatchPattern] = [], shadow: Bool = false
    ) -> GreylistSettings {
        GreylistSettings(
            clients: clients, suspiciousScore: 2, delay: .seconds(300), retryWithin: .seconds(2 * 86_400),
            remember: .seconds(35 * 86_400), ipv4Prefix: 24, ipv6Prefix: 64, skipClients: skipClients,
            skipSenders: skipSenders, skipRecipients: skipRecipients, shadow: shadow)
    }

    private func wait(_ seconds: Int) -> PolicyAnswer {
        .deferIfPermit(
            Reply(
                code: 450, enhanced: "4.2.0",
                text: "Greylisted, try again in \(seconds) second\(seconds == 1 ? "" : "s")"))
    }

    // MARK: Tries

    @Test("too early, in time; then client and triplet are known")
    func inTime() throws {
        let server = try Server()
        #expect(server.attempt()?.answer == wait(300))
        server.clock.advance(by: .milliseconds(100_500))
        #expect(server.attempt()?.answer == wait(200))  // 199.5 s: rounded up
        server.clock.advance(by: .milliseconds(199_499))
        #expect(server.attempt()?.answer == wait(1))
        server.clock.advance(by: .milliseconds(1))
        let passed = try #require(server.attempt())
        #expect(passed.outcome == .pass && passed.answer == nil)
        #expect(passed.reason == "this client has come back with this sender and recipient, after 300 s")
        #expect(server.attempt()?.reason == "192.0.2.0/24 is known")
        // Another sender of a client that has shown itself does not wait.
        #expect(server.attempt("192.0.2.99", from: "cy@example.net", to: "di@example.com")?.outcome == .pass)
    }

    @Test("too late: the wait begins anew")
    func tooLate() throws {
        let server = try Server()
        _ = server.attempt()
        server.clock.advance(by: .seconds(2 * 86_400 + 1))
        #expect(server.attempt()?.answer == wait(300))
        server.clock.advance(by: .seconds(300))
        #expect(server.attempt()?.outcome == .pass)
    }

    @Test(
        "what a triplet is: network, sender, recipient; case does not matter",
        arguments: [
            ("192.0.2.200", "ann@example.org", "bo@example.com", true),
            ("192.0.2.7", "Ann@Example.ORG", "BO@example.com", true),
            ("::ffff:192.0.2.8", "ann@example.org", "bo@example.com", true),
            ("192.0.3.7", "ann@example.org", "bo@example.com", false),
            ("192.0.2.7", "eve@example.org", "bo@example.com", false),
            ("192.0.2.7", "ann@example.org", "cy@example.com", false),
            ("192.0.2.7", "", "bo@example.com", false),
        ])
    func triplet(_ client: String, _ sender: String, _ recipient: String, _ isSame: Bool) throws {
        let server = try Server()
        _ = server.attempt()
        server.clock.advance(by: .seconds(300))
        #expect(server.attempt(client, from: sender, to: recipient)?.outcome == (isSame ? .pass : .defer))
    }

    @Test("IPv6 counts by /64")
    func ipv6() throws {
        let server = try Server()
        _ = server.attempt("2001:db8:1:2::1")
        server.clock.advance(by: .seconds(300))
        #expect(server.attempt("2001:db8:1:3::1")?.outcome == .defer)
        #expect(server.attempt("2001:db8:1:2:ffff::1")?.outcome == .pass)
    }

    @Test("two recipients of one message wait for themselves; their answers differ")
    func recipients() throws {
        let server = try Server()
        _ = server.attempt(to: "bo@example.com")
        server.clock.advance(by: .seconds(200))
        #expect(server.attempt(to: "bo@example.com")?.answer == wait(100))
        #expect(server.attempt(to: "cy@example.com")?.answer == wait(300))
        server.clock.advance(by: .seconds(100))
        // The first one's retry makes the client known, and the second one's mail goes with it.
        #expect(server.attempt(to: "cy@example.com")?.answer == wait(200))
        #expect(server.attempt(to: "bo@example.com")?.outcome == .pass)
        #expect(server.attempt(to: "cy@example.com")?.outcome == .pass)
    }

    @Test("the null sender waits as others do, each recipient for itself")
    func nullSender() throws {
        let server = try Server()
        #expect(server.attempt(from: "")?.answer == wait(300))
        server.clock.advance(by: .seconds(300))
        #expect(server.attempt(from: "", to: "cy@example.com")?.answer == wait(300))
        #expect(server.attempt(from: "")?.outcome == .pass)
        // SPF of the HELO name is its identity (RFC 7208 §2.4).
        let pool = try Server()
        pool.spf(.pass, "ip4:192.0.0.0/16")
        #expect(pool.attempt("192.0.2.7", from: "", helo: "out.example.org")?.outcome == .defer)
        pool.clock.advance(by: .seconds(300))
        #expect(pool.attempt("192.0.3.7", from: "", helo: "out.example.org")?.outcome == .pass)
        #expect(pool.attempt("192.0.4.7", from: "", helo: "out.example.net")?.outcome == .defer)
    }

    @Test("the clock is set back by an hour: nobody waits longer than the delay")
    func clockBack() throws {
        let server = try Server()
        _ = server.attempt()
        server.clock.advance(by: .seconds(-3600))
        #expect(server.attempt()?.answer == wait(300))
        server.clock.advance(by: .seconds(300))
        #expect(server.attempt()?.outcome == .pass)
    }

    // MARK: Identity

    @Test("a pool of 30 addresses with SPF pass waits as one")
    func pool() throws {
        let server = try Server()
        server.spf(.pass, "include:spf.example.net", "ip4:198.51.0.0/16")
        for host in 0..<29 { #expect(server.attempt("198.51.\(host).1")?.outcome == .defer) }
        server.clock.advance(by: .seconds(300))
        let passed = try #require(server.attempt("198.51.29.1"))
        #expect(
            passed.reason == "example.org has come back with this sender and recipient, by SPF, after 300 s")
        // Another message of it waits, until five triplets have passed from two networks: then the domain is known.
        var waited = 0
        for number in 0..<8 {
            let (first, second) = ("198.51.\(40 + 2 * number).1", "198.51.\(41 + 2 * number).1")
            if server.attempt(first, to: "r\(number)@example.com")?.outcome == .defer { waited += 1 }
            server.clock.advance(by: .seconds(300))
            #expect(server.attempt(second, to: "r\(number)@example.com")?.outcome == .pass)
        }
        #expect(waited == 4)
        #expect(server.attempt("198.51.200.1", to: "new@example.com")?.reason == "example.org is known, by SPF")
        // Who is on a list has no identity, and SPF is not asked for it.
        let asked = server.spfAsked.withLock { $0 }
        #expect(server.attempt("198.51.201.1", to: "new@example.com", score: 1)?.outcome == .defer)
        #expect(server.spfAsked.withLock { $0 } == asked)
    }

    @Test(
        "identities that anybody can have: each address waits for itself",
        arguments: [
            ["+all"], ["exists:%{i}.example.org"], ["ptr"], ["ip4:0.0.0.0/0"], ["a:%{i}.example.org"],
            ["include:x.example.net", "all"], ["include:%{i}.example.org", "ip4:198.51.100.1"],
        ])
    func everybody(_ terms: [String]) throws {
        let server = try Server()
        for host in 0..<30 {
            if let first = terms.first, terms.count == 1 {
                server.spf(.pass, first)
            } else {
                server.spf(.pass, terms[0], terms[1])
            }
            #expect(server.attempt("198.51.\(host).1")?.answer == wait(300))
            server.clock.advance(by: .seconds(60))
        }
    }

    @Test("SPF's trouble does not make a sender wait anew")
    func temperror() throws {
        let server = try Server()
        server.spf(.pass, "a")
        _ = server.attempt("192.0.2.7")
        server.clock.advance(by: .seconds(200))
        server.spf(.temperror)
        #expect(server.attempt("192.0.2.7")?.answer == wait(100))
        #expect(server.attempt("192.0.9.7")?.answer == wait(100))  // its other host: counted from the domain's first try
        server.clock.advance(by: .seconds(100))
        #expect(server.attempt("192.0.8.7")?.outcome == .pass)
        #expect(server.attempt("192.0.2.7")?.outcome == .pass)
        // It makes nobody known, and helps nobody else's mail.
        #expect(server.attempt("192.0.8.7", from: "eve@example.org")?.answer == wait(300))
        #expect(server.attempt("192.0.8.7", to: "cy@example.com")?.answer == wait(300))
        // Nor does a known domain speak for whom SPF cannot be asked.
        try server.memory.allow(.origin(.domain(try DomainName("example.org"))), now: server.clock.now())
        #expect(server.attempt("192.0.8.8", from: "x@example.org")?.outcome == .defer)
        server.spf(.pass, "a")
        #expect(server.attempt("192.0.8.8", from: "x@example.org")?.outcome == .pass)
    }

    @Test("SPF is asked only where the memory wants to know")
    func lazily() throws {
        let server = try Server()
        _ = server.attempt()
        #expect(server.spfAsked.withLock { $0 } == 1)
        server.clock.advance(by: .seconds(300))
        _ = server.attempt()
        #expect(server.spfAsked.withLock { $0 } == 2)
        for _ in 0..<10 { _ = server.attempt() }  // the client is known
        #expect(server.spfAsked.withLock { $0 } == 2)
    }

    // MARK: Whom it concerns

    @Test("clients: none, suspicious, all; a rule may force it")
    func clients() throws {
        for (clients, score, isForced, concerns) in [
            (GreylistClients.none, 9, false, false), (.none, 0, true, true), (.all, -9, false, true),
            (.suspicious, 1, false, false), (.suspicious, 2, false, true), (.suspicious, 0, true, true),
        ] {
            let server = try Server(Self.settings(clients))
            #expect((server.attempt(score: score, isForced: isForced) != nil) == concerns)
        }
        // A score that is not known yet may be any.
        let judge = try Server(Self.settings(.suspicious)).judge
        #expect(judge.concerns(request(), score: nil, isForced: false))
        #expect(!judge.concerns(request([.clientAddress: "unknown"]), score: 9, isForced: true))
        #expect(!judge.concerns(request([.recipient: ""], at: .data), score: 9, isForced: true))
    }

    @Test("skip lists hold for whom a rule forces too")
    func skips() throws {
        let server = try Server(
            Self.settings(
                skipClients: [.network(try Network("198.51.100.0/24")), .below(try DomainName("example.net"))],
                skipSenders: [.exact("vip@example.org"), .exact("")],
                skipRecipients: [.addresses(at: try DomainName("example.edu"))]))
        func concerns(_ values: [PolicyAttribute: String]) -> Bool {
            let given = request([.clientName: "unknown"].merging(values) { $1 })
            let both = [false, true].map { server.judge.concerns(given, score: 5, isForced: $0) }
            #expect(both.first == both.last)
            return both.first == true
        }
        #expect(concerns([:]))
        #expect(!concerns([.clientAddress: "198.51.100.77"]) && !concerns([.clientAddress: "::ffff:198.51.100.77"]))
        #expect(!concerns([.clientName: "mx.example.net"]))
        #expect(concerns([.reverseClientName: "mx.example.net"]))  // a name that nobody has verified
        #expect(!concerns([.sender: "VIP@example.org"]) && !concerns([.sender: ""]))
        #expect(!concerns([.recipient: "abuse@example.edu"]) && concerns([.recipient: "abuse@x.example.edu"]))
    }

    // MARK: Beside

    @Test("the memory is broken: mail passes, and it is told")
    func broken() throws {
        let server = try Server()
        server.memory.breakDown()
        let finding = try #require(server.attempt())
        #expect(finding.outcome == .pass && finding.answer == nil)
        #expect(finding.reason == "greylisting's memory is not available")
        #expect(server.spfAsked.withLock { $0 } == 0)
    }

    @Test("only observed: what would be said is told")
    func shadow() throws {
        let finding = try #require(try Server(Self.settings(shadow: true)).attempt())
        #expect(finding.isShadow && finding.answer == wait(300) && finding.check == .greylist)
    }

    @Test("explain writes nothing")
    func explain() throws {
        let server = try Server()
        #expect(server.attempt(telling: .everything)?.answer == wait(300))
        server.clock.advance(by: .seconds(300))
        #expect(server.attempt(telling: .everything)?.answer == wait(300))
        #expect(try server.memory.counts() == GreylistCounts())
    }

    @Test("a try is told with its reason")
    func reasons() throws {
        let server = try Server()
        #expect(server.attempt()?.reason == "first try of 192.0.2.0/24; 300 s left")
        server.spf(.pass, "a")
        server.clock.advance(by: .seconds(10))
        #expect(server.attempt()?.reason == "too early of 192.0.2.0/24, or of example.org by SPF; 290 s left")
    }

    @Test("whatever clients say: no trap, and texts are printable")
    func mutations() throws {
        let server = try Server()
        let samples = ["ann@example.org", "\"a@b\"@example.org", "", "bo@[192.0.2.1]"].map { Array($0.utf8) }
        Mutations.of(samples, tokens: [[0], [0xC3, 0xA9], [0x40]], count: 2000, seed: 6647) { text in
            let given = PolicyRequest(
                stage: .rcpt,
                [.clientAddress: Array("192.0.2.7".utf8), .sender: text, .recipient: text, .heloName: text])
            guard server.judge.concerns(given, score: 0, isForced: false) else { return }
            let finding = server.judge.finding(
                for: given, score: 0, isForced: false, telling: .outcome, now: noon
            ) {
                SPFFinding(
                    result: .pass, reason: .matched,
                    identity: .mailFrom(MailFromIdentity(sender: text, helo: HELOIdentity(text))), mechanism: "a",
                    chain: given.senderDomain.map { [SPFStep(domain: $0, term: "a")] } ?? [])
            }
            #expect(finding.outcome == .defer && finding.reason.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
        }
    }
}
