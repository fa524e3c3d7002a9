import Foundation
import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import PosternMilter
import PosternSocket
import TestSupport
import Testing

@testable import postern_dmarc

/// DESIGN §2: DMARC cannot be starved, and the verdict comes in time.
@Suite("postern-dmarc and time")
struct TimeTests {
    static let reject = "[dmarc]\non_reject = \"reject\"\n"
    static let zone = """
        _dmarc.example.org. 60 TXT "v=DMARC1; p=reject"
        example.org. 60 TXT "v=spf1 ip4:192.0.2.0/24 -all"
        """
    static let letter = "From: Ann <ann@example.org>\nTo: Bo <bo@example.net>\n\nHello\n"
    static let rsa = Result { try PrivateKey.generate(.rsa(bits: 1024)) }

    /// The letter with a signature of each domain, whose keys need not exist.
    static func signed(by domains: [String], _ text: String = letter) throws -> MessageText {
        var message = MessageText(octets: text.utf8)
        for domain in domains {
            let key = DKIMSigningKey(
                domain: try DomainName(domain), selector: try DomainName("s"), privateKey: try rsa.get())
            let signing = DKIMSigning(
                header: message.header, keys: [key], settings: .init(), now: UnixTime(seconds: 1_790_000_000))
            signing.update(message.body.span)
            message.header = try signing.finish() + message.header
        }
        return message
    }

    static let tarpits = ["tarpit.example"]
    static let tenTarpits = (0..<10).map { "s\($0).tarpit.example" }

    @Test("a spoof with ten signatures and SPF at tarpits is refused within the time", arguments: [true, false])
    func starvation(_ knowsEnvelope: Bool) throws {
        let bench = try JudgingBench(Self.reject, zone: Self.zone, tarpits: Self.tarpits)
        let filter = bench.session("198.51.100.9", helo: "tarpit.example")
        filter.begin(try Self.signed(by: Self.tenTarpits), from: "eve@tarpit.example", knowsEnvelope: knowsEnvelope)
        let ended = bench.well.now()
        let verdict = filter.endOfMessage()
        #expect(verdict.reply?.hasPrefix("550 5.7.26 DMARC policy of example.org") == true)
        #expect(bench.well.now() - ended <= VerdictTime.whole)
    }

    @Test("the authors' policies are asked before everything else, in the batch of the keys")
    func order() throws {
        let bench = try JudgingBench(Self.reject, zone: Self.zone, tarpits: Self.tarpits)
        _ = bench.session("198.51.100.9").send(
            try Self.signed(by: Self.tenTarpits), from: "eve@tarpit.example", knowsEnvelope: false)
        let first = try #require(bench.well.asked.first)
        #expect(
            first.questions.prefix(3).map(\.description) == [
                "_dmarc.example.org TXT", "_dmarc.org TXT", "example.org A",
            ])
        #expect(first.questions.count == 3 + 8, "eight of ten signatures are judged")
        #expect(first.waited <= VerdictTime.records)
    }

    @Test("walks of identifiers that may align find their reserve after the tarpits")
    func reserve() throws {
        // An envelope sender below the author's domain: its own walk decides, and psd=n at it parts them.
        let zone =
            Self.zone + """

                sub.example.org. 60 TXT "v=spf1 ip4:198.51.100.9 -all"
                _dmarc.sub.example.org. 60 TXT "v=DMARC1; p=none; psd=n"
                """
        let bench = try JudgingBench(Self.reject, zone: zone, tarpits: Self.tarpits)
        let filter = bench.session("198.51.100.9", helo: "x.tarpit.example")
        let verdict = filter.send(
            try Self.signed(by: Self.tenTarpits), from: "eve@sub.example.org", knowsEnvelope: false)
        #expect(verdict.reply?.hasPrefix("550 5.7.26") == true, "\(bench.log.lines)")
        #expect(bench.log.lines.last?.contains("spf=pass (ip4:198.51.100.9) mailfrom=sub.example.org") == true)
        #expect(bench.well.asked.last?.questions.contains { "\($0)" == "_dmarc.sub.example.org TXT" } == true)
    }

    @Test("mail of the author's own passes, whatever else hangs at it")
    func ownMail() throws {
        let bench = try JudgingBench(Self.reject, zone: Self.zone, tarpits: Self.tarpits)
        let verdict = bench.session("192.0.2.7", helo: "x.tarpit.example").send(try Self.signed(by: Self.tenTarpits))
        #expect(verdict.results?.contains("dmarc=pass header.from=example.org") == true)
    }

    @Test("SPF that is late while the envelope comes in is asked again at the end, of both identities")
    func again() throws {
        let zone =
            Self.zone + """

                slow.example. 60 TXT "v=spf1 include:slower.example -all"
                slower.example. 60 TXT "v=spf1 ip4:192.0.2.7 -all"
                mx.slower.example. 60 TXT "v=spf1 ip4:192.0.2.7 -all"
                """
        // Longer than what a step has while the envelope comes in, and less than it has at the end.
        let bench = try JudgingBench(zone: zone, slow: [("slower.example", VerdictTime.helo / 2)])
        let filter = bench.session("192.0.2.7", helo: "mx.slower.example")
        let began = bench.well.now()
        filter.mail(Envelope(mailFrom: Array("ann@slow.example".utf8)))
        filter.judgeEnvelope()
        #expect(bench.well.now() - began <= VerdictTime.envelope, "the message waits behind it")
        for field in MessageText(octets: Self.letter.utf8).header { filter.header(field) }
        _ = filter.endOfHeader(queueID: "4a")
        let results = filter.endOfMessage().results ?? ""
        #expect(results.contains("spf=pass (include:slower.example) smtp.mailfrom=ann@slow.example"), "\(results)")
        #expect(results.contains("spf=pass (ip4:192.0.2.7) smtp.helo=mx.slower.example"), "\(results)")
    }

    @Test("what SPF knows is not asked again")
    func known() throws {
        let zone = Self.zone + "\nmx.example.org. 60 TXT \"v=spf1 -all\"\n"
        let bench = try JudgingBench(zone: zone)
        let filter = bench.session()
        filter.begin(MessageText(octets: Self.letter.utf8))
        let asked = bench.well.asked.count
        _ = filter.endOfMessage()
        let later = bench.well.asked.dropFirst(asked).flatMap(\.questions).filter { $0.type == .txt }
        #expect(later.map(\.description) == ["_dmarc.example.org TXT", "_dmarc.org TXT"])
    }

    @Test(
        "a client's name at a tarpit is no match, and leaves SPF time for the rest",  // RFC 7208 §5.5
        arguments: ["2.0.192.in-addr.arpa", "tarpit.example"], [true, false])
    func pointerTarpit(_ tarpit: String, _ knowsEnvelope: Bool) throws {
        let zone =
            Self.zone + """

                7.2.0.192.in-addr.arpa. 60 PTR x.tarpit.example.
                ptr.example. 60 TXT "v=spf1 ptr include:inc.example -all"
                inc.example. 60 TXT "v=spf1 ip4:192.0.2.0/24 -all"
                """
        let bench = try JudgingBench(zone: zone, tarpits: [tarpit])
        let verdict = bench.session().send(Self.letter, from: "ann@ptr.example", knowsEnvelope: knowsEnvelope)
        let results = verdict.results ?? ""
        #expect(results.contains("spf=pass (include:inc.example) smtp.mailfrom=ann@ptr.example"), "\(results)")
    }

    @Test("SPF that fails for want of a client's name is asked again when there is more time for it")
    func slowPointer() throws {
        let zone =
            Self.zone + """

                7.2.0.192.in-addr.arpa. 60 PTR mail.ptr.example.
                mail.ptr.example. 60 A 192.0.2.7
                ptr.example. 60 TXT "v=spf1 ptr -all"
                """
        let bench = try JudgingBench(zone: zone, slow: [("in-addr.arpa", .seconds(4))])
        let verdict = bench.session().send(Self.letter, from: "ann@ptr.example")
        #expect(verdict.results?.contains("spf=pass (ptr) smtp.mailfrom=ann@ptr.example") == true)
    }

    @Test("an overloaded door does not make less of what SPF has found")
    func overloaded() throws {
        let zone = Self.zone + "\nptr.example. 60 TXT \"v=spf1 ptr -all\"\n"
        let bench = try JudgingBench(zone: zone, tarpits: ["in-addr.arpa"])
        let filter = bench.session()
        filter.begin(MessageText(octets: Self.letter.utf8), from: "ann@ptr.example")
        #expect(filter.whenOverloaded().results?.contains("spf=fail (-all) smtp.mailfrom=ann@ptr.example") == true)
    }

    @Test("each question goes out once for a message, whoever asks it")
    func once() throws {
        let bench = try JudgingBench(zone: Self.zone)
        _ = bench.session().send(try Self.signed(by: ["example.org", "sub.example.org"]), from: "")
        let asked = bench.well.asked.flatMap(\.questions).map(\.description)
        #expect(Set(asked).count == asked.count, "\(asked)")
    }

    @Test("a HELO name at a tarpit does not keep good mail")
    func heloTarpit() throws {
        let bench = try JudgingBench(zone: Self.zone, tarpits: Self.tarpits)
        let filter = bench.session("192.0.2.7", helo: "x.tarpit.example")
        filter.begin(MessageText(octets: Self.letter.utf8))
        let ended = bench.well.now()
        #expect(filter.endOfMessage().results?.contains("dmarc=pass") == true)
        #expect(bench.well.now() - ended <= VerdictTime.helo)
        let late = bench.session("192.0.2.7", helo: "x.tarpit.example")
        late.begin(MessageText(octets: Self.letter.utf8), knowsEnvelope: false)
        let lateEnded = bench.well.now()
        #expect(late.endOfMessage().results?.contains("dmarc=pass") == true)
        #expect(bench.well.now() - lateEnded <= VerdictTime.helo)
    }

    @Test("the envelope's time and the message's fit below Postfix's 30 s")
    func budgets() {
        #expect(VerdictTime.envelope + VerdictTime.whole < .seconds(30))
        #expect(VerdictTime.records + VerdictTime.walks < VerdictTime.whole)
        // RFC 7208 §4.6.4: SPF alone has 20 s.
        #expect(VerdictTime.envelope + VerdictTime.whole - VerdictTime.walks >= .seconds(20))
    }

    @Test(
        "a stop waits for the longest verdict, and systemd for the stop", arguments: ["postern-dmarc", "postern-dkim"])
    func stop(_ daemon: String) throws {
        #expect(VerdictTime.longest >= VerdictTime.envelope + VerdictTime.whole)
        let unit = try String(
            contentsOf: Fixtures.folder.appending(path: "../../systemd/\(daemon).service"), encoding: .utf8)
        let seconds = try #require(unit.firstMatch(of: /\nTimeoutStopSec=(\d+)s\n/)?.1)
        let stop = VerdictTime.longest + Daemon.drainMargin + FactKeeping.stopLimit
        #expect(try #require(Int(seconds)) > Int(stop / .seconds(1)))
    }

    @Test("policies and keys are prefetched while a long body comes in, once", arguments: [(65_535, 4), (65_534, 0)])
    func prefetch(_ chunk: Int, _ expected: Int) throws {
        let bench = try JudgingBench(zone: Self.zone)
        let message = try Self.signed(by: ["example.org"])
        let filter = bench.session()
        filter.mail(Envelope(mailFrom: []))
        for field in message.header { filter.header(field) }
        #expect(filter.endOfHeader(queueID: "4a") == .wanted)
        let body = [UInt8](repeating: 0x61, count: chunk)
        for _ in 0..<2 { _ = filter.body(body.span) }
        #expect(bench.well.zone.prefetched.count == expected)
        _ = filter.endOfMessage()
    }
}
