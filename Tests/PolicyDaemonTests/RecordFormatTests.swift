// The octets of recorded requests: what is written is read again; what is cut, flipped or mutated is left out and never
// traps; a stranger's text is only data.

import PosternAdmission
import PosternMail
import TestSupport
import Testing

@Suite("recorded requests") struct RecordFormatTests {
    static let time = UnixTime(seconds: 1_790_000_000) + .milliseconds(250)

    /// One of everything.
    static let samples: [RecordedRequest] = {
        func finding(_ result: SPFResult, chain: [SPFStep] = [], mechanism: String? = nil) -> SPFFinding {
            let sender = MailFromIdentity(
                localPart: Array("ann@example.net".utf8), domain: DomainName(literal: "example.net"), problem: nil,
                isNullReversePath: false)
            return SPFFinding(
                result: result, reason: result == .pass ? .matched : .noMatch, identity: .mailFrom(sender),
                mechanism: mechanism, chain: chain)
        }
        let request = Recipient().request
        let reject = RecordedDecision(
            word: "reject", check: "rule no spam", answer: "550 5.7.1 No spam", reason: "reject: sender <x> matches")
        let greylist: [GreylistAnswer] = [
            .pass(.knownClient, waited: nil), .pass(.triplet, waited: .seconds(301)),
            .pass(.domainTriplet, waited: .milliseconds(5)), .wait(remaining: .seconds(300), firstSeen: time),
            .unavailable,
        ]
        return [
            RecordedRequest(.policy, at: time, request, reject),
            RecordedRequest(.end, at: time, Recipient(stage: .data).request, RecordedDecision(word: "pass")),
            RecordedRequest(
                .limits, at: time, Recipient(stage: .endOfMessage, login: "ann").request,
                RecordedDecision(word: "defer", isWithheld: true, check: "limit a", answer: "450 4.7.1 x", reason: "y")),
            RecordedRequest(
                .policy, at: time, request, RecordedDecision(word: "pass"),
                lists: [
                    DNSBLHeard(zone: "zen.example", by: .client, answer: .addresses([0x7F00_0002, 0x7F00_0004])),
                    DNSBLHeard(zone: "(key).dq.example", by: .helo, answer: .addresses([])),
                    DNSBLHeard(zone: "a.example", by: .sender, answer: .silent),
                    DNSBLHeard(zone: "b.example", by: .clientName, answer: .suspended),
                ], senderPolicy: finding(.softfail)),
            RecordedRequest(
                .policy, at: time, request, RecordedDecision(word: "hold"), lists: [],
                senderPolicy: finding(
                    .pass, chain: [SPFStep(domain: DomainName(literal: "example.net"), term: "ip4:192.0.2.0/24")],
                    mechanism: "ip4:192.0.2.0/24")),
        ]
            + greylist.map {
                RecordedRequest(.policy, at: time, request, RecordedDecision(word: "pass"), greylist: $0)
            }
    }()

    static func payload(_ records: [RecordedRequest]) -> [UInt8] {
        var octets: [UInt8] = []
        for record in records { RecordFormat.append(record, to: &octets) }
        return octets
    }

    static func file(_ records: [RecordedRequest]) -> [UInt8] {
        var octets = RecordFormat.magic
        for record in records { FramedOctets.append(frame: payload([record]), to: &octets) }
        return octets
    }

    /// Whether the records are the same: one that was read lays its attributes out in another way.
    static func areSame(_ one: [RecordedRequest], _ other: [RecordedRequest]) -> Bool {
        one.count == other.count && payload(one) == payload(other)
    }

    static func read(_ octets: [UInt8], by step: Int = .max) -> (records: [RecordedRequest], frames: RecordFrames) {
        var frames = RecordFrames()
        var records: [RecordedRequest] = []
        var rest = octets[...]
        while !rest.isEmpty {
            frames.take(rest.prefix(step)) { records += RecordFormat.records(in: $0).records }
            rest = rest.dropFirst(step)
        }
        return (records, frames)
    }

    @Test("what is written is read again, in pieces of any size", arguments: [1, 2, 7, 100, Int.max])
    func roundTrip(step: Int) {
        let (records, frames) = Self.read(Self.file(Self.samples), by: step)
        #expect(Self.areSame(records, Self.samples))
        #expect(frames.damaged == 0 && !frames.isForeign)
    }

    @Test("every attribute that a judge looks at is kept, and texts are only data")
    func attributes() throws {
        let hostile = Array("\u{1b}[2J\r\n\0<>\\ä".utf8) + [0xFF, 0xFE]
        let dropped: Set<PolicyAttribute> = [
            .request, .protocolState, .etrnDomain, .stress, .compatibilityLevel, .mailVersion,
        ]
        let values = Dictionary(
            uniqueKeysWithValues: PolicyAttribute.allCases.map { ($0, hostile + [UInt8($0.rawValue)]) })
        for stage in PolicyStage.allCases {
            let record = RecordedRequest(
                .policy, at: Self.time, PolicyRequest(stage: stage, values), RecordedDecision(word: "pass"))
            let read = try #require(RecordFormat.records(in: Self.payload([record])[...]).records.first)
            #expect(read.request.stage == stage)
            for attribute in PolicyAttribute.allCases {
                let kept = dropped.contains(attribute) ? [] : hostile + [UInt8(attribute.rawValue)]
                #expect(Array(read.request[attribute]) == kept, "\(attribute)")
            }
        }
    }

    @Test("no value is longer than its cap, so that no client can fill the files")
    func caps() throws {
        let long = [UInt8](repeating: 0x61, count: 16_000)
        let values = Dictionary(uniqueKeysWithValues: PolicyAttribute.allCases.map { ($0, long) })
        let text = String(repeating: "x", count: 10_000)
        let record = RecordedRequest(
            .policy, at: Self.time, PolicyRequest(stage: .rcpt, values),
            RecordedDecision(word: "reject", check: text, answer: text, reason: text))
        let octets = Self.payload([record])
        #expect(octets.count < 30_000)
        let read = try #require(RecordFormat.records(in: octets[...]).records.first)
        #expect(read.request[.heloName].count == RecordFormat.maxValueOctets && read.decision.reason.utf8.count == 512)
        // With all that lists can answer it is still one that can be read.
        let heard = DNSBLHeard(zone: text, by: .client, answer: .addresses(Array(repeating: 0x7F00_0002, count: 65)))
        let longest = RecordedRequest(
            .policy, at: Self.time, PolicyRequest(stage: .rcpt, values),
            RecordedDecision(word: "reject", check: text, answer: text, reason: text),
            lists: Array(repeating: heard, count: 129))
        let (records, malformed) = RecordFormat.records(in: Self.payload([longest, record])[...])
        #expect(malformed == 0 && records.map { $0.lists?.count } == [128, nil])
    }

    @Test("a file that is cut anywhere gives what is whole")
    func cut() {
        let octets = Self.file(Self.samples)
        var counts: Set<Int> = []
        for end in 0..<octets.count {
            let (records, frames) = Self.read(Array(octets.prefix(end)))
            #expect(Self.areSame(records, Array(Self.samples.prefix(records.count))))
            #expect(frames.damaged == 0)
            counts.insert(records.count)
        }
        #expect(counts == Set(0..<Self.samples.count))
    }

    @Test("a flipped bit costs its frame, never gives another record")
    func flipped() {
        let octets = Self.file(Self.samples)
        let known = Set(Self.samples.map { Self.payload([$0]) })
        for place in RecordFormat.magic.count..<octets.count {
            var other = octets
            other[place] ^= 1 << UInt8(place % 8)
            let (records, _) = Self.read(other)
            #expect(records.count < Self.samples.count && records.allSatisfy { known.contains(Self.payload([$0])) })
        }
        for place in RecordFormat.magic.indices {
            var other = octets
            other[place] ^= 1
            #expect(Self.read(other).frames.isForeign)
        }
    }

    @Test("mutated payloads never trap, and what is read of them can be written")
    func mutations() {
        var (read, left) = (0, 0)
        Mutations.of(Self.samples.map { Self.payload([$0]) }, count: 5000, seed: 8) { octets in
            let (records, malformed) = RecordFormat.records(in: octets[...])
            for record in records {
                #expect(Self.areSame(RecordFormat.records(in: Self.payload([record])[...]).records, [record]))
            }
            read += records.count
            left += malformed
        }
        #expect(read > 100 && left > 100)
    }
}

extension DomainName {
    init(literal text: String) {
        guard let name = try? DomainName(text) else { preconditionFailure("a test's own name") }
        self = name
    }
}
