// The octets of a recorded request, and of the files that hold them. A file is "PSTNREQ1" and frames (FramedOctets) whose
// payload is records one after another, each with its length before it. What is malformed is left out and counted; every
// value may be a stranger's and is only data.
//
//     record: kind, milliseconds since 1970, stage, attributes: how many, then number and text of each;
//             decision: word (+ 128: withheld), check, answer, reason; what follows: 1 lists, 2 SPF, 4 greylist
//     lists:  how many, then of each zone, subject, 0 addresses (how many, 32 bits each), 1 silent, 2 suspended
//     SPF:    result, identity's domain, then for a pass the mechanism and each record's domain and term
//     greylist: 0 to 3 passed, whether and how long after its first try; 4 waits, milliseconds left, since when

internal import PosternMail

public enum RecordFormat {
    public static let magic = Array("PSTNREQ1".utf8)
    /// Longest payload of a frame.
    public static let maxPayload = 1 << 20
    /// Longest record: every attribute and every list's answer at its cap, and the rest.
    static let maxRecord = 1 << 18
    /// Octets of an attribute's value that are kept: more than any address or name has, and less than would let one
    /// client fill the files.
    public static let maxValueOctets = 1024
    static let maxLists = 128
    static let maxAddresses = 64
    /// RFC 7208 §4.6.4: ten terms that ask DNS, and the last.
    static let maxSteps = 16

    /// The attributes that are kept: those that rules, lists, greylisting and limits look at. The place is the number in
    /// the file: a new one is added at the end.
    static let attributes: [PolicyAttribute] = [
        .protocolName, .heloName, .queueID, .sender, .recipient, .recipientCount, .clientAddress, .clientName,
        .reverseClientName, .instance, .saslMethod, .saslUsername, .saslSender, .size, .ccertSubject, .ccertIssuer,
        .ccertFingerprint, .ccertPubkeyFingerprint, .encryptionProtocol, .encryptionCipher, .encryptionKeysize,
        .clientPort, .policyContext, .serverAddress, .serverPort, .tlsSNI,
    ]
    private static let stages: [PolicyStage] = [
        .connect, .ehlo, .helo, .mail, .rcpt, .data, .endOfMessage, .vrfy, .etrn,
    ]
    private static let subjects: [DNSBLSubject] = [.client, .sender, .helo, .clientName]
    private static let results: [SPFResult] = [.none, .neutral, .pass, .fail, .softfail, .temperror, .permerror]
    private static let passes: [GreylistAnswer.Reason] = [.knownClient, .knownDomain, .triplet, .domainTriplet]
    private static let waits: UInt8 = 4

    // MARK: Writing

    /// Appends a record with its length.
    public static func append(_ record: RecordedRequest, to octets: inout [UInt8]) {
        var body: [UInt8] = []
        body.reserveCapacity(384)
        body.append(record.kind.rawValue)
        FramedOctets.append(UInt64(clamping: record.time.nanoseconds / 1_000_000), to: &body)
        append(record.request, to: &body)
        append(record.decision, to: &body)
        body.append(
            (record.lists == nil ? 0 : 1) | (record.senderPolicy == nil ? 0 : 2) | (record.greylist == nil ? 0 : 4))
        if let lists = record.lists { append(lists, to: &body) }
        if let policy = record.senderPolicy { append(policy, to: &body) }
        if let greylist = record.greylist { append(greylist, to: &body) }
        FramedOctets.append(UInt64(body.count), to: &octets)
        octets += body
    }

    private static func append(_ request: PolicyRequest, to body: inout [UInt8]) {
        body.append(code(request.stage, in: stages))
        let place = body.count
        body.append(0)
        var count: UInt8 = 0
        for (number, attribute) in attributes.enumerated() {
            let value = request[attribute]
            guard !value.isEmpty else { continue }
            body.append(UInt8(number))
            FramedOctets.append(text: value, atMost: maxValueOctets, to: &body)
            count += 1
        }
        body[place] = count
    }

    private static func append(_ decision: RecordedDecision, to body: inout [UInt8]) {
        body.append(code(decision.word, in: RecordedDecision.allWords) | (decision.isWithheld ? 0x80 : 0))
        for text in [decision.check, decision.answer, decision.reason] {
            FramedOctets.append(text: text.utf8, atMost: RecordedDecision.maxTextOctets, to: &body)
        }
    }

    private static func append(_ lists: [DNSBLHeard], to body: inout [UInt8]) {
        let lists = lists.prefix(maxLists)
        FramedOctets.append(UInt64(lists.count), to: &body)
        for list in lists {
            FramedOctets.append(text: list.zone.utf8, atMost: maxValueOctets, to: &body)
            body.append(code(list.by, in: subjects))
            switch list.answer {
            case .addresses(let addresses):
                body.append(0)
                let addresses = addresses.prefix(maxAddresses)
                FramedOctets.append(UInt64(addresses.count), to: &body)
                for address in addresses { FramedOctets.append(word: address, to: &body) }
            case .silent: body.append(1)
            case .suspended: body.append(2)
            }
        }
    }

    private static func append(_ policy: SPFFinding, to body: inout [UInt8]) {
        body.append(code(policy.result, in: results))
        append(policy.domain, to: &body)
        guard policy.result == .pass else { return }
        FramedOctets.append(text: (policy.mechanism ?? "").utf8, atMost: maxValueOctets, to: &body)
        let chain = policy.chain.prefix(maxSteps)
        FramedOctets.append(UInt64(chain.count), to: &body)
        for step in chain {
            append(step.domain, to: &body)
            FramedOctets.append(text: step.term.utf8, atMost: maxValueOctets, to: &body)
        }
    }

    private static func append(_ domain: DomainName?, to body: inout [UInt8]) {
        FramedOctets.append(text: domain?.wire ?? [], atMost: DomainName.maxWireOctets, to: &body)
    }

    private static func append(_ greylist: GreylistAnswer, to body: inout [UInt8]) {
        switch greylist {
        case .pass(let reason, let waited):
            body.append(code(reason, in: passes))
            body.append(waited == nil ? 0 : 1)
            if let waited { FramedOctets.append(UInt64(clamping: waited.nanoseconds / 1_000_000), to: &body) }
        case .wait(let remaining, let since):
            body.append(waits)
            FramedOctets.append(UInt64(clamping: remaining.nanoseconds / 1_000_000), to: &body)
            FramedOctets.append(UInt64(clamping: since.nanoseconds / 1_000_000), to: &body)
        case .needsIdentity, .unavailable: body.append(waits + 1)
        }
    }

    private static func code<Value: Equatable>(_ value: Value, in values: [Value]) -> UInt8 {
        UInt8(clamping: values.firstIndex(of: value) ?? 0)
    }

    // MARK: Reading

    /// The records of a frame's payload, in their order.
    /// - Returns: also how many could not be read.
    public static func records(in payload: ArraySlice<UInt8>) -> (records: [RecordedRequest], malformed: Int) {
        var rest = payload
        var records: [RecordedRequest] = []
        var malformed = 0
        while !rest.isEmpty {
            // Where a length is wrong nobody knows where the next record begins.
            guard let body = FramedOctets.text(&rest, atMost: maxRecord) else { return (records, malformed + 1) }
            if let record = record(body) { records.append(record) } else { malformed += 1 }
        }
        return (records, malformed)
    }

    private static func record(_ body: ArraySlice<UInt8>) -> RecordedRequest? {
        var rest = body
        guard let kind = rest.popFirst().flatMap({ RecordedRequest.Kind(rawValue: $0) }),
            let time = milliseconds(&rest), let request = request(&rest), let decision = decision(&rest),
            let parts = rest.popFirst(), parts < 8
        else { return nil }
        var record = RecordedRequest(kind, at: UnixTime(nanoseconds: 0) + .milliseconds(time), request, decision)
        if parts & 1 != 0 {
            guard let lists = lists(&rest) else { return nil }
            record.lists = lists
        }
        if parts & 2 != 0 {
            guard let policy = senderPolicy(&rest, request) else { return nil }
            record.senderPolicy = policy
        }
        if parts & 4 != 0 {
            guard let greylist = greylist(&rest) else { return nil }
            record.greylist = greylist
        }
        return rest.isEmpty ? record : nil
    }

    private static func request(_ rest: inout ArraySlice<UInt8>) -> PolicyRequest? {
        guard let stage = value(&rest, of: stages), let count = rest.popFirst(), count <= attributes.count else {
            return nil
        }
        var octets: [UInt8] = []
        octets.reserveCapacity(256)
        var places = [Range<Int>](repeating: 0..<0, count: PolicyAttribute.allCases.count)
        for _ in 0..<count {
            guard let attribute = value(&rest, of: attributes),
                let text = FramedOctets.text(&rest, atMost: maxValueOctets)
            else { return nil }
            places[attribute.rawValue] = octets.count..<(octets.count + text.count)
            octets += text
        }
        return PolicyRequest(stage: stage, octets: octets, places: places)
    }

    private static func decision(_ rest: inout ArraySlice<UInt8>) -> RecordedDecision? {
        guard let code = rest.popFirst(), let word = RecordedDecision.allWords.dropFirst(Int(code & 0x7F)).first,
            let check = text(&rest), let answer = text(&rest), let reason = text(&rest)
        else { return nil }
        return RecordedDecision(word: word, isWithheld: code >= 0x80, check: check, answer: answer, reason: reason)
    }

    private static func text(_ rest: inout ArraySlice<UInt8>) -> String? {
        FramedOctets.text(&rest, atMost: RecordedDecision.maxTextOctets).map { String(decoding: $0, as: UTF8.self) }
    }

    private static func lists(_ rest: inout ArraySlice<UInt8>) -> [DNSBLHeard]? {
        guard let count = FramedOctets.number(&rest), count <= maxLists else { return nil }
        var lists: [DNSBLHeard] = []
        for _ in 0..<count {
            guard let zone = FramedOctets.text(&rest, atMost: maxValueOctets), let by = value(&rest, of: subjects),
                let answer = heard(&rest)
            else { return nil }
            lists.append(DNSBLHeard(zone: String(decoding: zone, as: UTF8.self), by: by, answer: answer))
        }
        return lists
    }

    private static func heard(_ rest: inout ArraySlice<UInt8>) -> DNSBLHeard.Answer? {
        switch rest.popFirst() {
        case 0:
            guard let count = FramedOctets.number(&rest), count <= maxAddresses else { return nil }
            var addresses: [UInt32] = []
            for _ in 0..<count {
                guard let address = FramedOctets.word(rest) else { return nil }
                rest = rest.dropFirst(4)
                addresses.append(address)
            }
            return .addresses(addresses)
        case 1: return .silent
        case 2: return .suspended
        default: return nil
        }
    }

    private static func senderPolicy(_ rest: inout ArraySlice<UInt8>, _ request: PolicyRequest) -> SPFFinding? {
        guard let result = value(&rest, of: results), let wire = wire(&rest) else { return nil }
        let domain = wire.isEmpty ? nil : name(wire)
        guard domain != nil || wire.isEmpty else { return nil }
        let sender = request[.sender]
        let identity = MailFromIdentity(
            localPart: Array(sender.prefix(MailFromIdentity.maxLocalPartOctets)), domain: domain, problem: nil,
            isNullReversePath: sender.isEmpty)
        var finding = SPFFinding(
            result: result, reason: result == .pass ? .matched : .noMatch, identity: .mailFrom(identity))
        guard result == .pass else { return finding }
        guard let mechanism = FramedOctets.text(&rest, atMost: maxValueOctets),
            let count = FramedOctets.number(&rest), count <= maxSteps
        else { return nil }
        finding.mechanism = mechanism.isEmpty ? nil : String(decoding: mechanism, as: UTF8.self)
        for _ in 0..<count {
            guard let step = Self.wire(&rest).flatMap({ name($0) }),
                let term = FramedOctets.text(&rest, atMost: maxValueOctets)
            else {
                return nil
            }
            finding.chain.append(SPFStep(domain: step, term: String(decoding: term, as: UTF8.self)))
        }
        return finding
    }

    private static func wire(_ rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        FramedOctets.text(&rest, atMost: DomainName.maxWireOctets)
    }

    private static func name(_ wire: ArraySlice<UInt8>) -> DomainName? {
        try? DomainName(wire: wire)  // damaged: nobody's name
    }

    private static func greylist(_ rest: inout ArraySlice<UInt8>) -> GreylistAnswer? {
        guard let code = rest.popFirst() else { return nil }
        if code == waits {
            guard let left = milliseconds(&rest), let since = milliseconds(&rest) else { return nil }
            return .wait(remaining: .milliseconds(left), firstSeen: UnixTime(nanoseconds: 0) + .milliseconds(since))
        }
        if code == waits + 1 { return .unavailable }
        guard let reason = passes.dropFirst(Int(code)).first, let hasWaited = rest.popFirst(), hasWaited < 2 else {
            return nil
        }
        guard hasWaited == 1 else { return .pass(reason, waited: nil) }
        return milliseconds(&rest).map { .pass(reason, waited: .milliseconds($0)) }
    }

    /// At most what a `UnixTime` holds.
    private static func milliseconds(_ rest: inout ArraySlice<UInt8>) -> Int64? {
        guard let number = FramedOctets.number(&rest), number <= UInt64(Int64.max / 1_000_000) else { return nil }
        return Int64(number)
    }

    private static func value<Value>(_ rest: inout ArraySlice<UInt8>, of values: [Value]) -> Value? {
        rest.popFirst().flatMap { values.dropFirst(Int($0)).first }
    }
}
