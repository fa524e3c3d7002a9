import Foundation
import PosternAuth
import PosternDNS
import PosternMail
import PosternMilter
import TestSupport
import Testing

@testable import PosternDaemon
@testable import postern_dmarc

@Suite("postern-dmarc, message by message")
struct JudgingFilterTests {
    static let zone = TimeTests.zone
    static let letter = TimeTests.letter

    // MARK: Whose mail

    @Test(
        "who is not judged",
        arguments: [
            ("127.0.0.1", 4711, nil, nil, "", "ours, not judged"), ("::1", 4711, nil, nil, "", "ours, not judged"),
            ("127.0.0.1", 0, nil, nil, "", "ours, not judged"), ("10.1.2.3", 4711, nil, nil, "", "ours, not judged"),
            ("192.0.2.7", 4711, "ann", nil, "", "ours, not judged"),
            ("192.0.2.7", 4711, nil, "ORIGINATING", "", "ours, not judged"),
            ("203.0.113.9", 4711, nil, nil, "", "from a relay of ours"),
            ("::ffff:203.0.113.9", 4711, nil, nil, "", "from a relay of ours"),
            ("192.0.2.7", 4711, nil, "REINJECT", "", "through a service in host.passthrough"),
            ("127.0.0.1", 4711, nil, nil, "Received: from evil\n", "brought back through loopback"),
        ] as [(String, UInt16, String?, String?, String, String)])
    func unjudged(
        _ address: String, _ port: UInt16, _ login: String?, _ daemon: String?, _ field: String, _ text: String
    ) throws {
        let bench = try JudgingBench(
            "networks = [\"127.0.0.0/8\", \"::1/128\", \"10.0.0.0/8\"]\nrelays = [\"203.0.113.0/24\"]\n",
            zone: Self.zone)
        let verdict = bench.session(address, port: port, daemon: daemon).send(
            "Authentication-Results: example.net; dmarc=pass\nPostern-Disposition: x\n" + field + Self.letter,
            login: login)
        #expect(verdict.disposition == .accept && verdict.inserted.isEmpty)
        #expect(verdict.removed() == [1] && verdict.removed("Postern-Disposition") == [1])
        let line = try #require(bench.log.lines.first)
        #expect(line.contains(": pass: ") && line.contains(text), "\(line)")
        #expect(bench.well.asked.isEmpty, "nothing is asked for what is not judged")
        #expect(bench.ledger.facts.isEmpty)
    }

    // MARK: What is removed

    @Test("results and marks go from the highest index down, before ours are added")
    func removals() throws {
        let bench = try JudgingBench(zone: Self.zone)
        let verdict = bench.session("198.51.100.9").send(
            """
            Postern-Disposition: accept
            Authentication-Results: example.net; dkim=pass
            Authentication-Results: other.example; dkim=pass
            postern-disposition : quarantine
            AUTHENTICATION-RESULTS : "mx1.example.net" 1; spf=pass

            """ + Self.letter)
        #expect(verdict.removed() == [3, 1])
        #expect(verdict.removed("Postern-Disposition") == [2, 1])
        #expect(verdict.mark == "Postern-Disposition: quarantine (dmarc example.org)")
        let firstInsertion = try #require(
            verdict.edits.firstIndex { if case .insertOnTop = $0 { true } else { false } })
        #expect(firstInsertion == 4 && verdict.edits.count == 6)
    }

    @Test(
        "more than 50 fields to remove are refused, from whomever", arguments: ["192.0.2.7", "127.0.0.1"], [51, 26, 0])
    func tooMany(_ address: String, _ results: Int) throws {
        let bench = try JudgingBench(zone: Self.zone)
        let fields =
            String(repeating: "Authentication-Results: example.net; dkim=pass\n", count: results)
            + String(repeating: "Postern-Disposition: x\n", count: 51 - results)
        let verdict = bench.session(address).send(fields + Self.letter)
        #expect(verdict.disposition == .refuse(ForgedResults.refusal))
        #expect(bench.log.lines.first?.contains(": reject: END-OF-MESSAGE from mx.example.org[") == true)
        #expect(bench.ledger.facts.isEmpty)
        #expect(bench.service.counters[.refused] == 1)
        let last = fields.split(separator: "\n").dropFirst().joined(separator: "\n") + "\n"
        #expect(bench.session(address).send(last + Self.letter).edits.count >= 50)
    }

    // MARK: Caps and state

    @Test(
        "many signatures with long names push nothing out of a line, in either form of the log",
        arguments: ["", "[dmarc]\non_reject = \"reject\"\n", "[dmarc]\non_reject = \"reject\"\nshadow = true\n"])
    func longLine(_ configuration: String) throws {
        let bench = try JudgingBench(configuration, zone: Self.zone)
        let long = String(repeating: String(repeating: "a", count: 60) + ".", count: 3)
        var message = try TimeTests.signed(by: (0..<8).map { "\(long)s\($0).example" })
        message.header.append(HeaderField("Authentication-Results", "example.net; dkim=pass"))
        let verdict = bench.session("198.51.100.9").send(message, from: "eve@\(long)example")
        guard case .outcome(let line) = bench.log.events.last else { return #expect(Bool(false), "no line") }
        let refused = verdict.reply != nil
        #expect(refused == configuration.hasSuffix("on_reject = \"reject\"\n"))
        let start = refused ? "550 5.7.26 DMARC policy of example.org (p=reject) forbids this message: " : "dmarc=fail "
        #expect(line.text.hasPrefix(start))
        for fact in [
            "dmarc=fail (neither SPF nor DKIM passed) author=example.org p=reject", " mailfrom=\(long)example",
        ] {
            #expect(line.text.contains(fact), "\(line)")
        }
        #expect(line.text.contains(", would reject: 550 5.7.26 ") == configuration.contains("shadow"))
        #expect(line.text.contains(", 1 Authentication-Results removed") == !refused)
        #expect(
            line.text.contains(
                /, dkim=permerror \(no key in DNS\) d=a{60}\.a{60}\.a{60}\.s7\.example s=s a=rsa-sha256, \+7 more/))
        #expect(line.text.utf8.count <= OutcomeLine.maxTextOctets)
        // RFC 8259: one object, with the whole text.
        let rendering = LogRendering(program: "postern-dmarc", pid: 1, format: .json)
        let json = rendering.message(of: .outcome(line), at: UnixTime(seconds: 0))
        let object = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any]
        #expect(object?["text"] as? String == line.text)
    }

    @Test("a header over the caps has no signature that passes, and hides neither its author nor its forgeries")
    func overCaps() throws {
        let bench = try JudgingBench("[dmarc]\non_reject = \"reject\"\n", zone: Self.zone)
        var message = MessageText(octets: Self.letter.utf8)
        let filler = HeaderField("X", "y")
        message.header.insert(contentsOf: repeatElement(filler, count: HeaderCollector.maxFields), at: 0)
        message.header.append(HeaderField("Authentication-Results", "example.net; dkim=pass"))
        let verdict = bench.session("192.0.2.7").send(message)
        #expect(verdict.removed() == [1])
        #expect(verdict.results?.contains("dkim=permerror reason=\"signed header is too large\"; dmarc=pass") == true)
        #expect(bench.session("198.51.100.9").send(message).reply?.hasPrefix("550 5.7.26") == true)
    }

    @Test("messages of one session do not know of each other")
    func session() throws {
        let bench = try JudgingBench(zone: Self.zone)
        let filter = bench.session()
        _ = filter.send("List-Id: x\nAuthentication-Results: example.net; x=pass\n" + Self.letter)
        filter.mail(Envelope(mailFrom: Array("eve@evil.example".utf8)))
        filter.judgeEnvelope()
        filter.header(HeaderField("From", "eve@evil.example"))
        filter.abort()
        let verdict = filter.send(Self.letter)
        #expect(verdict.removed().isEmpty)
        #expect(verdict.results?.contains("spf=pass (ip4:192.0.2.0/24) smtp.mailfrom=ann@example.org") == true)
        #expect(bench.ledger.facts.count == 2)
    }

    @Test("calls out of order do no harm")
    func disorder() throws {
        let filter = try JudgingBench(zone: Self.zone).session()
        filter.judgeEnvelope()
        filter.header(HeaderField("From", "x"))
        #expect(filter.endOfHeader(queueID: nil) == .enough)
        #expect(filter.body([1].span) == .enough)
        #expect(filter.endOfMessage().edits.isEmpty)
        #expect(filter.whenOverloaded().edits.isEmpty)
        filter.abort()
    }

    @Test("a client without an address has no SPF, and leaves no facts")
    func noAddress() throws {
        let bench = try JudgingBench(zone: Self.zone)
        let filter = JudgingFilter(
            session: SMTPSession(client: SMTPClient(name: [], address: nil)), service: bench.service)
        let verdict = filter.send(Self.letter)
        #expect(verdict.results?.hasPrefix("example.net; dkim=none; dmarc=fail") == true)
        #expect(bench.ledger.facts.isEmpty)
    }

    @Test(
        "odd senders and HELO names are data to judge",
        arguments: ["", "a@b...c", "@", "a@", " ", "a b", "x@[1.2.3.4]"])
    func oddNames(_ name: String) throws {
        let bench = try JudgingBench(zone: Self.zone)
        let verdict = bench.session("198.51.100.9", helo: name).send(Self.letter, from: name)
        #expect(verdict.results?.contains("spf=none") == true)
        #expect(verdict.mark != nil)
        #expect(bench.ledger.facts.first?.spf.count == 2)
    }

    // MARK: Facts, counters, reload

    @Test("a fact holds what reports need")
    func fact() throws {
        let bench = try JudgingBench(zone: Self.zone)
        _ = bench.session("::ffff:192.0.2.7").send(try TimeTests.signed(by: ["example.org"]))
        let fact = try #require(bench.ledger.facts.first)
        #expect(fact.time == UnixTime(seconds: 1_790_000_000) && fact.queueID == "4abc")
        #expect(fact.client == IPAddress("192.0.2.7"))
        #expect(fact.discovery == .treewalk && fact.dmarc.published?.policy == .reject)
        #expect(fact.spf.map(\.result) == [.pass, .none] && fact.dkim.map(\.result) == [.permerror])
        #expect(fact.disposition == .pass && fact.override == nil)
    }

    @Test("each message is counted once by what became of it, by DMARC and by SPF, each signature by its result")
    func counters() throws {
        let bench = try JudgingBench(
            "[spf]\non_temperror = \"defer\"\n[dmarc]\non_reject = \"reject\"\n", zone: Self.zone,
            failing: [try DomainName("failing.example")])
        _ = bench.session().send(Self.letter)
        _ = bench.session("198.51.100.9").send(Self.letter)
        _ = bench.session().send("From: x@failing.example\n\nx\n", from: "x@failing.example")
        _ = bench.session("127.0.0.1").send("Authentication-Results: example.net; x=pass\n" + Self.letter)
        _ = bench.session().send(try TimeTests.signed(by: ["example.org", "example.com"]))
        let filter = bench.session()
        filter.begin(MessageText(octets: Self.letter.utf8))
        _ = filter.whenOverloaded()
        let readings = bench.service.counters.readings.filter { $0.value > 0 }
        #expect(
            Dictionary(uniqueKeysWithValues: readings.map { ("\($0.name)", $0.value) }) == [
                #"postern_dmarc_messages_total{verdict="accepted"}"#: 3,
                #"postern_dmarc_messages_total{verdict="rejected"}"#: 1,
                #"postern_dmarc_messages_total{verdict="deferred"}"#: 1,
                #"postern_dmarc_messages_total{verdict="passed"}"#: 1,
                #"postern_dmarc_passed_total{reason="ours"}"#: 1,
                #"postern_dmarc_results_total{result="pass"}"#: 2,
                #"postern_dmarc_results_total{result="fail"}"#: 1,
                #"postern_dmarc_results_total{result="none"}"#: 1,
                #"postern_dmarc_results_total{result="temperror"}"#: 1,
                #"postern_dmarc_spf_total{result="pass"}"#: 3,
                #"postern_dmarc_spf_total{result="fail"}"#: 1,
                #"postern_dmarc_spf_total{result="temperror"}"#: 1,
                #"postern_dmarc_signatures_total{result="none"}"#: 4,
                #"postern_dmarc_signatures_total{result="permerror"}"#: 2,
                "postern_dmarc_results_fields_removed_total": 1,
                "postern_dmarc_dns_temporary_failures_total": 2,
                "postern_dmarc_overloaded_total": 1,
            ])
    }

    @Test("names are different, and what a metrics tool takes")
    func names() {
        let names = DMARCCounter.allCases.map { "\($0.name)" }
        #expect(Set(names).count == names.count)
        for name in DMARCCounter.allCases.map(\.name) {
            #expect(name.metric.hasPrefix("postern_dmarc_") && name.metric.hasSuffix("_total"))
        }
        for result in DMARCResult.allCases { #expect(DMARCCounter(result).name.label?.value == result.rawValue) }
        for result in SPFResult.allCases { #expect(DMARCCounter(result).name.label?.value == result.rawValue) }
        for result in DKIMResult.allCases { #expect(DMARCCounter(result).name.label?.value == result.rawValue) }
        for reason in DMARCOverride.allCases { #expect(DMARCCounter(reason).name.label?.value == reason.rawValue) }
    }

    @Test("a session keeps the snapshot that it began with; what was counted goes on")
    func snapshot() throws {
        let bench = try JudgingBench(zone: Self.zone)
        let current = Snapshot(bench.service)
        let old = JudgingFilter(session: Self.session, service: current.current)
        let text = "[host]\nname = \"mx1.example.net\"\n[dmarc]\non_reject = \"reject\"\n"
        let settings = try #require(
            Configuration.read(Array(text.utf8), file: "test", folder: "/", for: .dmarc).flawless)
        current.replace(
            by: JudgingService(
                settings, method: .treeWalk, facts: nil, after: current.current, log: bench.log,
                clocks: bench.service.clocks, dns: bench.well.view))
        let new = JudgingFilter(session: Self.session, service: current.current)
        #expect(new.send(Self.letter).reply?.hasPrefix("550") == true)
        #expect(old.send(Self.letter).mark != nil)
        #expect(current.current.counters[.rejected] == 1 && current.current.counters[.quarantined] == 1)
        #expect(bench.ledger.facts.count == 1, "the newer one keeps none")
    }

    static let session = SMTPSession(client: SMTPClient(name: [], address: IPAddress("198.51.100.9")))

    @Test("organizational domains by the public suffix list, where that is configured")
    func publicSuffixList() throws {
        let zone = """
            _dmarc.example.org. 60 TXT "v=DMARC1; p=reject"
            _dmarc.org. 60 TXT "v=DMARC1; p=none; psd=n"
            """
        let letter = "From: ann@a.example.org\n\nx\n"
        let walked = try JudgingBench(zone: zone)
        _ = walked.session().send(letter)
        #expect(walked.ledger.facts.first?.dmarc.organizationalDomain == (try DomainName("org")))
        let listed = try JudgingBench(zone: zone, method: .publicSuffixList(PublicSuffixList(text: Array("org".utf8))))
        _ = listed.session().send(letter)
        #expect(listed.ledger.facts.first?.dmarc.organizationalDomain == (try DomainName("example.org")))
        #expect(listed.ledger.facts.first?.discovery == .psl)
    }
}
