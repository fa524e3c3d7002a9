// Recorded requests (`policy.record`), in files that a crash has cut, a disk has damaged, or somebody else has written:
// whatever is in them, what is read is written and read again as the same, and judging it again ends.

import PosternDNS
import PosternMail

@testable import PosternAdmission
@testable import PosternDaemon

/// How the file is cut, what the octets are: one frame's payload, a whole file, or one whose checksums are mended; the
/// octets.
@Sendable func fuzzRecords(_ input: inout FuzzInput) {
    let seed = input.octet()
    let choice = input.octet()
    var file = input.remainder()
    if choice & 1 == 0 {
        let payload = file
        file = RecordFormat.magic
        FramedOctets.append(frame: payload, to: &file)
    }
    if choice & 2 != 0 { mendChecksums(of: &file) }
    let whole = payloads { $0(file) }
    let split = payloads { take in inPieces(file, seed: seed) { piece in take(piece.indices.map { piece[$0] }) } }
    require(whole.found == split.found, "\(whole.found.count) frames whole, \(split.found.count) in pieces")
    require(whole.damaged == split.damaged && whole.isForeign == split.isForeign, "damage of \(shown(file))")
    var records: [RecordedRequest] = []
    for payload in whole.found {
        let read = RecordFormat.records(in: payload[...])
        hold(read.records)
        records += read.records
    }
    judge(records)
}

/// What no fuzzer guesses: a frame's CRC-32C.
private func mendChecksums(of file: inout [UInt8]) {
    var start = RecordFormat.magic.count
    while start < file.count, let length = FramedOctets.word(file[start...]) {
        let payload = start + FramedOctets.frameHead
        guard payload + Int(length) <= file.count else { return }
        var checksum: [UInt8] = []
        FramedOctets.append(word: FramedOctets.crc(file[payload..<payload + Int(length)]), to: &checksum)
        file.replaceSubrange(start + 4..<payload, with: checksum)
        start = payload + Int(length)
    }
}

private func payloads(
    _ feed: (([UInt8]) -> Void) -> Void
) -> (found: [[UInt8]], damaged: Int, isForeign: Bool) {
    var frames = RecordFrames()
    var found: [[UInt8]] = []
    feed { octets in
        frames.take(octets) { payload in
            require(payload.count <= RecordFormat.maxPayload, "a payload of \(payload.count) octets")
            found.append(Array(payload))
        }
    }
    return (found, frames.damaged, frames.isForeign)
}

/// What is appended and read back is equal. A text that was no UTF-8 grows when it is mended, and may be cut then.
private func hold(_ records: [RecordedRequest]) {
    let kept = records.filter { record in
        let texts = [record.decision.check, record.decision.answer, record.decision.reason]
        let others = (record.lists ?? []).map(\.zone) + (record.senderPolicy?.chain ?? []).map(\.term)
        return texts.allSatisfy { $0.utf8.count <= RecordedDecision.maxTextOctets }
            && others.allSatisfy { $0.utf8.count <= RecordFormat.maxValueOctets }
            && (record.senderPolicy?.mechanism ?? "").utf8.count <= RecordFormat.maxValueOctets
    }
    for record in kept {
        var octets: [UInt8] = []
        RecordFormat.append(record, to: &octets)
        let again = RecordFormat.records(in: octets[...])
        // A request is not equal to one that holds the same values in another order.
        var written: [UInt8] = []
        for record in again.records { RecordFormat.append(record, to: &written) }
        require(again.malformed == 0 && written == octets, "\(record) is read as \(again)")
    }
}

/// Two sides of the same configuration say the same, and what they say can be shown.
private func judge(_ records: [RecordedRequest]) {
    guard !records.isEmpty else { return }
    let replay = certain("rules that were checked") { try Replay([replayed, replayed]) }
    for record in records {
        let decisions = replay.judge(record, at: PolicyTime(now: record.time, minute: 600, weekday: .mon))
        require(decisions.count == (record.kind == .end ? 0 : 2), "\(decisions.count) decisions")
        require(decisions.first == decisions.last, "two answers of one configuration: \(decisions)")
        for decision in decisions {
            let texts = [decision.decision.reason, decision.decision.answer] + decision.unknown
            require(texts.allSatisfy(\.isOnePlainLine), "texts \(texts)")
        }
    }
}

/// A rule for most that a record has, lists by two subjects, greylisting for all, limits of both windows.
private let replayed: ReplaySettings = {
    let text = """
        [host]
        name = "mx1.example.org"
        [greylist]
        clients = "all"
        [dnsbl]
        reject_score = 3
        [[dnsbl.list]]
        zone = "zen.example"
        scores = { "127.0.0.[2..11]" = 3 }
        [[dnsbl.list]]
        zone = "dbl.example"
        by = "sender"
        scores = { "127.0.1.2" = 2 }
        [[rule]]
        name = "friends"
        sender = ["@example.net", "/^bounce[0-9]+@/"]
        spf = ["pass"]
        action = "accept"
        [[rule]]
        name = "dynamic"
        client_name = ["/^dyn[0-9]{2,}/"]
        dnsbl_score = ["2.."]
        action = "defer 4.7.1 Later"
        [[limit]]
        name = "account"
        per = ["sasl_username"]
        count = "recipients"
        allow = ["3/1h", "10/1d"]
        action = "defer 4.7.1 Slow down"
        [[limit]]
        name = "client"
        per = ["client"]
        count = "messages"
        allow = ["2/1m"]
        window = "fixed"
        action = "reject no"

        """
    func read(_ role: ConfigurationRole) -> Configuration {
        let result = Configuration.read(
            Array(text.utf8), file: "postern.toml", folder: "/nonexistent/postern", for: role)
        return certain("\(result.problems)") {
            guard let configuration = result.configuration else { throw ControlRefusal("no configuration") }
            return configuration
        }
    }
    return ReplaySettings(policy: read(.policy), rate: read(.rate))
}()
