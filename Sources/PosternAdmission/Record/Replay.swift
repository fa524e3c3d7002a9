// Recorded requests judged again: by the pipeline and the limits that the daemons have, for one configuration or for two
// side by side. The first is the one that is in force (the baseline); how far its replay agrees with what was really
// decided shows how far the second's can be believed. Pure: the records are all there is.

public import PosternMail

/// A configuration's share of what is replayed.
public struct ReplaySettings: Sendable {
    public let rules: [RuleSettings]
    public let lists: DNSBLSettings
    /// nil where nobody can be greylisted.
    public let greylist: GreylistSettings?
    public let limits: [LimitSettings]
    public let origin: OriginSettings
    public let isShadow: Bool

    public init(
        rules: [RuleSettings], lists: DNSBLSettings, greylist: GreylistSettings?, limits: [LimitSettings],
        origin: OriginSettings, isShadow: Bool
    ) {
        (self.rules, self.lists, self.greylist) = (rules, lists, greylist)
        (self.limits, self.origin, self.isShadow) = (limits, origin, isShadow)
    }
}

/// What one configuration decides about one recorded request.
public struct ReplayedDecision: Hashable, Sendable {
    public let decision: RecordedDecision
    /// What it wanted to know and nobody had asked then: zones, `SPF`. It was taken for no answer.
    public let unknown: [String]

    init(_ decision: RecordedDecision, unknown: [String] = []) {
        self.decision = decision
        self.unknown = unknown
    }
}

public final class Replay {
    /// Messages whose facts are kept: those of so many records back, or of an hour.
    private static let maxMessages = 16_384
    private static let memory = Duration.seconds(3600)

    private let sides: [ReplaySide]
    private let asking: ReplayAsking?
    private var messages: [[UInt8]: ReplayedMessage] = [:]
    private var order: [(key: [UInt8], time: UnixTime)] = []
    private var head = 0
    /// Requests that greylisting let pass, or made wait less, by what it knew from before the records.
    public private(set) var seeded = 0
    /// Tries that are taken to come again, of the last configuration.
    public private(set) var comingBack = 0

    /// - Parameter sides: the baseline first.
    /// - Parameter asking: asks DNS for what was not asked then; nil: it stays unknown.
    /// - Throws: a wrong expression, which `check` has told before.
    public init(_ sides: [ReplaySettings], asking: ReplayAsking? = nil) throws(ExpressionError) {
        var made: [ReplaySide] = []
        for settings in sides { made.append(try ReplaySide(settings)) }
        self.sides = made
        self.asking = asking
    }

    /// Judges one record; they come in the order of their time.
    ///
    /// - Parameter time: the record's, with the local hour.
    /// - Returns: one decision for each side; none for an end, which nobody is told.
    public func judge(_ record: RecordedRequest, at time: PolicyTime) -> [ReplayedDecision] {
        switch record.kind {
        case .policy: return judgePolicy(record, at: time)
        case .limits:
            return sides.map { side in
                ReplayedDecision(
                    RecordedDecision(
                        side.limits.verdict(on: record.request, ledger: side.counted, now: record.time)))
            }
        case .end:
            for side in sides { side.limits.end(record.request, ledger: side.counted, now: record.time) }
            return []
        }
    }

    private func judgePolicy(_ record: RecordedRequest, at time: PolicyTime) -> [ReplayedDecision] {
        let message = message(of: record)
        if let lists = record.lists {
            for list in lists { message.heard[RecordedList(zone: list.zone, by: list.by)] = list.answer }
        }
        if let policy = record.senderPolicy { message.senderPolicy = policy }
        plant(record, message)
        return sides.enumerated().map { number, side in
            var facts = message.facts.dropFirst(number).first ?? InstanceFacts()
            facts.senderPolicy = message.senderPolicy
            if record.lists != nil { facts.lists = nil }  // more is known now
            let answers = RecordedDNS(
                record.request, lists: side.lists, heard: message.heard, asking: asking)
            let verdict = side.judge.verdict(on: record.request, at: time, facts: &facts, dns: answers)
            // What rests on what is unknown is asked for again at the next recipient, so that it is noted there too.
            if !answers.unknown.isEmpty { facts.lists = nil }
            if asking != nil { message.senderPolicy = facts.senderPolicy }
            if message.facts.indices.contains(number) { message.facts[number] = facts }
            assumeRetry(verdict, record, side, isLast: number == sides.count - 1)
            return ReplayedDecision(RecordedDecision(verdict), unknown: answers.unknown)
        }
    }

    // MARK: Greylisting

    /// What the daemon's memory held from before is put into every side's, unless the baseline's replay has brought it
    /// about by itself.
    private func plant(_ record: RecordedRequest, _ message: ReplayedMessage) {
        guard let answer = record.greylist, let client = record.request.client,
            let first = sides.first(where: { $0.settings.greylist != nil }), let settings = first.settings.greylist
        else { return }
        let domain = message.senderPolicy.map { $0.result == .pass ? $0.domain : nil } ?? record.request.senderDomain
        let seed = GreylistSeed(
            answer: answer, client: client, sender: record.request[.sender], recipient: record.request[.recipient],
            domain: domain)
        guard first.greylist.lacks(seed, settings, now: record.time) else { return }
        seeded += 1
        for side in sides {
            if let settings = side.settings.greylist { side.greylist.plant(seed, settings, now: record.time) }
        }
    }

    private func assumeRetry(_ verdict: PolicyVerdict, _ record: RecordedRequest, _ side: ReplaySide, isLast: Bool) {
        if case .wait = record.greylist { return }  // the records tell whether it has come again
        guard let finding = verdict.findings.last(where: { $0.check == .greylist }), finding.outcome == .defer else {
            return
        }
        side.greylist.comesBack()
        if isLast { comingBack += 1 }
    }

    // MARK: Messages

    private func message(of record: RecordedRequest) -> ReplayedMessage {
        let request = record.request
        guard !request[.instance].isEmpty else { return ReplayedMessage(sides: sides.count) }
        var key: [UInt8] = []
        key.reserveCapacity(160)
        // As the door has it: what is of another client or sender is another message.
        for attribute in [PolicyAttribute.instance, .clientAddress, .heloName, .sender, .saslUsername] {
            key += request[attribute]
            key.append(0)
        }
        if let known = messages[key] { return known }
        forget(record.time)
        let message = ReplayedMessage(sides: sides.count)
        messages[key] = message
        order.append((key, record.time))
        return message
    }

    private func forget(_ now: UnixTime) {
        while head < order.count, order.count - head >= Self.maxMessages || now - order[head].time > Self.memory {
            messages[order[head].key] = nil
            head += 1
        }
        guard head > 4096, head * 2 > order.count else { return }
        order.removeFirst(head)
        head = 0
    }
}

/// What is known of one message, for all of its recipients.
private final class ReplayedMessage {
    var heard: [RecordedList: DNSBLHeard.Answer] = [:]
    var senderPolicy: SPFFinding?
    /// One for each side.
    var facts: [InstanceFacts]

    init(sides: Int) { facts = Array(repeating: InstanceFacts(), count: sides) }
}

/// One configuration with what it remembers.
private final class ReplaySide {
    let settings: ReplaySettings
    let judge: PolicyJudge
    let lists: [ReplayedList]
    let greylist = ReplayedGreylist()
    let limits: LimitJudge
    let counted = LimitMemory()

    init(_ settings: ReplaySettings) throws(ExpressionError) {
        self.settings = settings
        var waiting: GreylistJudge?
        if let greylist = settings.greylist { waiting = try GreylistJudge(greylist, ledger: self.greylist) }
        judge = try PolicyJudge(
            rules: settings.rules, lists: DNSBLJudge(settings.lists, health: DNSBLHealth([])), greylist: waiting,
            senderPolicy: UnrecordedSPF(), origin: settings.origin, isShadow: settings.isShadow)
        lists = settings.lists.lists.map { ReplayedList($0) }
        limits = try LimitJudge(settings.limits, isShadow: settings.isShadow)
        counted.prepare(limits.terms)
    }
}
