import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import PosternMilter
import TestSupport
import Testing

@testable import postern_dkim

/// What is said of a message when too many are being judged, and what is counted of all others.
@Suite("too many messages at once")
struct OverloadTests {
    static let letter = "From: Ann <ann@example.org>\nTo: Bo <bo@example.net>\nSubject: a\n\nHello\n"
    static let stranger = "From: Cy <cy@example.com>\nTo: Bo <bo@example.net>\nSubject: a\n\nHello\n"

    static func overloaded(_ filter: SigningFilter, _ text: String) -> Verdict {
        overloaded(filter, MessageText(octets: text.utf8))
    }

    static func overloaded(_ filter: SigningFilter, _ message: MessageText) -> Verdict {
        filter.mail(Envelope(mailFrom: Array("ann@example.org".utf8)))
        for field in message.header { filter.header(field) }
        if filter.endOfHeader(queueID: "4abc") == .wanted { _ = filter.body(message.body.span) }
        return filter.whenOverloaded()
    }

    /// The letter with a signature of ours.
    static func signed(_ bench: FilterBench) -> MessageText {
        bench.session("127.0.0.1").send(letter).applied(to: MessageText(octets: letter.utf8))
    }

    /// The message with octets of each field's value replaced.
    static func altered(_ message: MessageText, _ old: String, _ new: String) -> MessageText {
        var message = message
        message.header = message.header.map { field in
            let value = String(decoding: field.value, as: UTF8.self).replacing(old, with: new)
            return HeaderField(name: field.name, value: Array(value.utf8))
        }
        return message
    }

    @Test("ours is signed as always: signing waits for nobody")
    func ours() throws {
        let bench = try FilterBench()
        let verdict = Self.overloaded(bench.session("127.0.0.1"), Self.letter)
        #expect(verdict.disposition == .accept)
        #expect(verdict.inserted.count == 2)
        #expect(bench.service.counters[.signed] == 1 && bench.service.counters[.overloaded] == 1)
    }

    @Test("ours that nobody signs passes as always")
    func unsigned() throws {
        let bench = try FilterBench()
        let verdict = Self.overloaded(bench.session("127.0.0.1"), Self.stranger)
        #expect(verdict.disposition == .accept)
        #expect(bench.service.counters[.unsigned] == 1 && bench.service.counters[.overloaded] == 1)
    }

    @Test("a stranger's goes on as temperror; no key is asked for, forged results are gone")
    func strangers() throws {
        let bench = try FilterBench()
        var message = Self.signed(bench)
        message.header.insert(HeaderField("Authentication-Results", "example.net; dkim=pass"), at: 0)
        let asked = bench.zone.asked.count
        let verdict = Self.overloaded(bench.session("192.0.2.7"), message)
        #expect(verdict.disposition == .accept)
        #expect(verdict.removed() == [1])
        let results = verdict.results ?? ""
        #expect(results.hasPrefix("example.net; dkim=temperror") && results.contains("key not available"), "\(results)")
        #expect(!results.contains("too many"), "strangers are told nothing of our limits")
        #expect(bench.zone.asked.count == asked)
        #expect(bench.log.lines.last?.contains("verify: END-OF-MESSAGE") == true)
        #expect(bench.log.lines.last?.contains("too many messages at once") == true)
        #expect(bench.service.counters[.forgedRemoved] == 1)
        #expect(bench.service.counters[.resultTemperror] == 1)
        #expect(bench.service.counters[.dnsTemporaryFailures] == 0, "nobody was asked")
    }

    @Test("a stranger's without a signature is what it is")
    func strangersUnsigned() throws {
        let bench = try FilterBench()
        let verdict = Self.overloaded(bench.session("192.0.2.7"), Self.stranger)
        #expect(verdict.results == "example.net; dkim=none")
    }

    @Test("too many forged results are refused as always")
    func forged() throws {
        let bench = try FilterBench()
        let fields = String(
            repeating: "Authentication-Results: example.net; dkim=pass\n", count: ForgedResults.maxRemovals + 1)
        let verdict = Self.overloaded(bench.session("192.0.2.7"), fields + Self.stranger)
        guard case .refuse(let reply) = verdict.disposition else {
            Issue.record("accepted")
            return
        }
        #expect(reply.code == 550)
        #expect(bench.service.counters[.refused] == 1)
    }

    @Test("the next message of the session is judged as always")
    func next() throws {
        let bench = try FilterBench()
        let filter = bench.session("127.0.0.1")
        _ = Self.overloaded(filter, Self.letter)
        #expect(filter.send(Self.letter).inserted.count == 2)
        #expect(filter.whenOverloaded().edits == [], "no message, nothing to say")
    }

    // MARK: Counters

    @Test("each message is counted once by what became of it, each signature by its result")
    func counters() throws {
        let bench = try FilterBench(failing: [try DomainName("f._domainkey.example.org")])
        let message = Self.signed(bench)
        let stranger = "192.0.2.7"
        _ = bench.session(stranger).send(message)
        _ = bench.session(stranger).send(Self.altered(message, "Bo <", "Bob <"))
        _ = bench.session(stranger).send(Self.altered(message, "s=e;", "s=f;"))
        _ = bench.session(stranger).send(Self.stranger)
        _ = bench.session("203.0.113.5").send(message)
        _ = bench.session(stranger, daemon: "REINJECT").send(message)
        let readings = bench.service.counters.readings.filter { $0.value > 0 }
        let found = Dictionary(uniqueKeysWithValues: readings.map { ("\($0.name)", $0.value) })
        #expect(
            found == [
                #"postern_dkim_messages_total{verdict="signed"}"#: 1,
                #"postern_dkim_messages_total{verdict="verified"}"#: 4,
                #"postern_dkim_messages_total{verdict="passed"}"#: 2,
                #"postern_dkim_passed_total{reason="relay"}"#: 1,
                #"postern_dkim_passed_total{reason="passthrough"}"#: 1,
                #"postern_dkim_signatures_total{result="pass"}"#: 3,
                #"postern_dkim_signatures_total{result="fail"}"#: 2,
                #"postern_dkim_signatures_total{result="temperror"}"#: 1,
                #"postern_dkim_signatures_total{result="none"}"#: 1,
                "postern_dkim_dns_temporary_failures_total": 1,
            ])
    }

    @Test("names are different, and what a metrics tool takes")
    func names() {
        let names = DKIMCounter.allCases.map { "\($0.name)" }
        #expect(Set(names).count == names.count)
        for name in DKIMCounter.allCases.map(\.name) {
            #expect(name.metric.hasPrefix("postern_dkim_") && name.metric.hasSuffix("_total"))
        }
        for result in DKIMResult.allCases { #expect(DKIMCounter(result).name.label?.value == result.rawValue) }
    }

    // MARK: Reload

    @Test("a session keeps the snapshot that it began with; what was counted goes on")
    func snapshot() throws {
        let bench = try FilterBench()
        let current = Snapshot(bench.service)
        let old = SigningFilter(
            session: SMTPSession(client: SMTPClient(name: [], address: IPAddress("127.0.0.1"))),
            service: current.current)
        var newer = bench.service
        newer.keys = []
        current.replace(by: newer)
        let new = SigningFilter(
            session: SMTPSession(client: SMTPClient(name: [], address: IPAddress("127.0.0.1"))),
            service: current.current)
        #expect(new.send(Self.letter).inserted == [])
        #expect(old.send(Self.letter).inserted.count == 2)
        #expect(current.current.counters[.signed] == 1 && current.current.counters[.unsigned] == 1)
    }
}
