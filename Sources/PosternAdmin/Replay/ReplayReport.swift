// What a replay has shown: how far the configuration in force, replayed, agrees with what was decided, and what the tried
// one would decide otherwise, counted by change. Memory is bounded, however many records there are.

internal import PosternAdmission
internal import PosternDaemon
internal import PosternMail

/// One decision that would be another.
struct ChangedDecision {
    let record: RecordedRequest
    let old: RecordedDecision
    let new: RecordedDecision
    /// Why it cannot be relied on; nil where it can.
    let doubt: String?
}

struct ReplayReport {
    /// From what to what, and by which check.
    struct Change: Hashable {
        let daemon: RecordKeeper
        let from: String
        let to: String
        /// What makes the difference: the new decision's check, or the old one's where nobody objects any more.
        let check: String
    }

    struct Count {
        var all = 0
        var doubtful = 0
    }

    /// What is counted of one daemon's requests.
    struct Share {
        var requests = 0
        var changed = 0
        var doubtful = 0
        /// As they were decided, as the baseline's replay has it.
        var agreeing = 0
        /// Wanted what nobody had asked.
        var unknown = 0
    }

    /// Which of the changed decisions are listed.
    struct Wanted {
        var from: String?
        var to: String?
        var client: Network?
        var limit = 20

        func wants(_ change: ChangedDecision) -> Bool {
            if let from, change.old.word != from { return false }
            if let to, change.new.word != to { return false }
            if let client { return change.record.request.client.map { client.contains($0) } ?? false }
            return true
        }
    }

    let wanted: Wanted
    let since: UnixTime?
    let until: UnixTime?
    let hasBaseline: Bool
    private(set) var shares: [RecordKeeper: Share] = [:]
    private(set) var changes: [Change: Count] = [:]
    private(set) var rows: [ChangedDecision] = []
    private(set) var wantedRows = 0
    /// What nobody had asked, and how many requests wanted it.
    private(set) var unknown: [String: Int] = [:]
    private(set) var first: UnixTime?
    private(set) var last: UnixTime?
    /// Older than what is asked for; they only fill memories.
    private(set) var older = 0
    /// Requests whose limits had not seen a whole span yet.
    private(set) var cold = 0
    /// Longest span of the tried limits.
    let span: Duration
    private var firstLimited: UnixTime?

    var reading = RecordReader.Reading()
    /// Of the replay.
    var seeded = 0
    var comingBack = 0
    var asked = 0

    /// Kinds of changes that are told apart: as many as checks and words allow.
    private static let maxChanges = 10_000

    init(wanted: Wanted, since: UnixTime?, until: UnixTime?, hasBaseline: Bool, limits: [LimitSettings]) {
        (self.wanted, self.since, self.until, self.hasBaseline) = (wanted, since, until, hasBaseline)
        span = limits.flatMap(\.allow).map(\.span).max() ?? .zero
    }

    /// Takes a record and what became of it.
    /// - Parameter replayed: the baseline's decision if there is one, then the tried configuration's.
    mutating func take(_ record: RecordedRequest, _ replayed: [ReplayedDecision]) {
        guard record.kind != .end, let new = replayed.last else { return }
        if record.kind == .limits, firstLimited == nil { firstLimited = record.time }
        if let until, record.time > until { return }
        if let since, record.time < since {
            older += 1
            return
        }
        first = first ?? record.time
        last = record.time
        if record.kind == .limits, let firstLimited, record.time - firstLimited < span { cold += 1 }
        let daemon: RecordKeeper = record.kind == .limits ? .rate : .policy
        let baseline = hasBaseline ? replayed.first : nil
        let agrees = baseline.map { $0.decision.isSame(as: record.decision) } ?? true
        let missing = new.unknown + (baseline?.unknown.filter { !new.unknown.contains($0) } ?? [])
        for name in missing { unknown[name, default: 0] += 1 }
        let old = baseline?.decision ?? record.decision
        let isChanged = !new.decision.isSame(as: old)
        shares[daemon, default: Share()].requests += 1
        if agrees { shares[daemon]?.agreeing += 1 }
        if !missing.isEmpty { shares[daemon]?.unknown += 1 }
        guard isChanged else { return }
        var doubt: String?
        if !missing.isEmpty {
            doubt = "not known: \(missing.joined(separator: ", "))"
        } else if !agrees {
            doubt = "was \(record.decision.told)"
        }
        add(ChangedDecision(record: record, old: old, new: new.decision, doubt: doubt), daemon)
    }

    private mutating func add(_ changed: ChangedDecision, _ daemon: RecordKeeper) {
        let by = changed.new.check.isEmpty ? changed.old.check : changed.new.check
        let change = Change(daemon: daemon, from: changed.old.shown, to: changed.new.shown, check: by)
        if changes[change] != nil || changes.count < Self.maxChanges {
            changes[change, default: Count()].all += 1
            if changed.doubt != nil { changes[change]?.doubtful += 1 }
        }
        shares[daemon]?.changed += 1
        if changed.doubt != nil { shares[daemon]?.doubtful += 1 }
        guard wanted.wants(changed) else { return }
        wantedRows += 1
        if rows.count < wanted.limit { rows.append(changed) }
    }

    var requests: Int { shares.values.reduce(0) { $0 + $1.requests } }
    var changed: Int { shares.values.reduce(0) { $0 + $1.changed } }
    var agreeing: Int { shares.values.reduce(0) { $0 + $1.agreeing } }

    /// The most frequent first.
    var sortedChanges: [(change: Change, count: Count)] {
        changes.map { ($0.key, $0.value) }.sorted {
            ($1.1.all, $0.0.daemon.rawValue, $0.0.check, $0.0.from, $0.0.to)
                < ($0.1.all, $1.0.daemon.rawValue, $1.0.check, $1.0.from, $1.0.to)
        }
    }

    var sortedUnknown: [(name: String, count: Int)] {
        unknown.map { ($0.key, $0.value) }.sorted { ($1.1, $0.0) < ($0.1, $1.0) }
    }
}

extension RecordedDecision {
    /// `reject`, or `shadow reject` where it is withheld.
    var shown: String { isWithheld && word != "pass" ? "shadow \(word)" : word }

    /// `reject 550 5.7.1 No spam (rule no spam)`.
    var told: String {
        var text = shown
        if !answer.isEmpty { text += " \(answer)" }
        let source =
            check.hasPrefix("rule ") || reason.isEmpty || check.isEmpty ? check : "\(check): \(reason)"
        if !source.isEmpty { return "\(text) (\(source))" }
        return reason.isEmpty ? text : "\(text) (\(reason))"
    }
}
