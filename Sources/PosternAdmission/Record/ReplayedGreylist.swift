// Greylisting's memory while recorded requests are judged again: by the decisions that every ledger shares, with the
// records' clock. It begins with nothing. What the daemon knew from before is learned from what it has answered (`seed`),
// and a client that is made to wait although it was let in then is taken to come back when its wait is over: no record can
// tell, and without that it would wait for ever.

public import PosternMail

public final class ReplayedGreylist: GreylistLedger {
    /// A try that is taken to be repeated.
    private struct Retry: Sendable {
        let due: UnixTime
        let request: GreylistRequest
        let times: GreylistTimes
    }

    private struct State {
        var entries: [GreylistKey: GreylistEntry] = [:]
        /// By their time, from `head` on.
        var retries: [Retry] = []
        var head = 0
        /// The last request that has to wait.
        var waiting: Retry?
        var sweepsAt = ReplayedGreylist.firstSweep
    }
    private let state = ShortLock(State())

    /// Entries at which what has expired goes first; then at the double of what is left.
    private static let firstSweep = 100_000
    /// Tries that are to come again, at most.
    private static let maxRetries = 1_000_000

    public init() {}

    public func decide(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer {
        state.withLock { state in
            Self.repeatTries(&state, until: now)
            let answer = Self.decide(&state, request, times, now)
            if case .wait(let remaining, _) = answer {
                state.waiting = Retry(due: now + remaining, request: request, times: times)
            }
            Self.sweep(&state, times, now)
            return answer
        }
    }

    private static func decide(
        _ state: inout State, _ request: GreylistRequest, _ times: GreylistTimes, _ now: UnixTime
    ) -> GreylistAnswer {
        let decision = GreylistDecision.make(for: request, times: times, now: now) { state.entries[$0] }
        for row in decision.changes { state.entries[row.key] = row.entry }
        return decision.answer
    }

    public func foresee(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer {
        state.withLock { state in
            GreylistDecision.make(for: request, times: times, now: now) { state.entries[$0] }.answer
        }
    }

    // MARK: What no record tells

    /// The request that was told last to wait comes again when it may.
    func comesBack() {
        state.withLock { state in
            guard let retry = state.waiting, state.retries.count - state.head < Self.maxRetries else { return }
            state.waiting = nil
            var place = state.retries.count
            while place > state.head, state.retries[place - 1].due > retry.due { place -= 1 }
            state.retries.insert(retry, at: place)
        }
    }

    private static func repeatTries(_ state: inout State, until now: UnixTime) {
        while state.head < state.retries.count, state.retries[state.head].due <= now {
            let retry = state.retries[state.head]
            state.head += 1
            _ = decide(&state, retry.request, retry.times, retry.due)
        }
        guard state.head > 4096, state.head * 2 > state.retries.count else { return }
        state.retries.removeFirst(state.head)
        state.head = 0
    }

    /// Whether what was answered shows an entry that is not here.
    func lacks(_ seed: GreylistSeed, _ settings: GreylistSettings, now: UnixTime) -> Bool {
        guard let row = seed.row(settings, now: now) else { return false }
        return state.withLock { state in
            guard let entry = state.entries[row.key] else { return true }
            if let end = entry.expires(under: row.key, settings.times), end < now { return true }
            return row.entry.isKnown && !entry.isKnown
        }
    }

    /// Puts in the entry that was there when it was answered.
    func plant(_ seed: GreylistSeed, _ settings: GreylistSettings, now: UnixTime) {
        guard let row = seed.row(settings, now: now) else { return }
        state.withLock { $0.entries[row.key] = row.entry }
    }

    private static func sweep(_ state: inout State, _ times: GreylistTimes, _ now: UnixTime) {
        guard state.entries.count >= state.sweepsAt else { return }
        state.entries = state.entries.filter { key, entry in entry.expires(under: key, times).map { $0 >= now } ?? true
        }
        state.sweepsAt = max(firstSweep, 2 * state.entries.count)
    }

    // MARK: For admins, who ask the daemon's ledger

    public func entries(
        withPrefix prefix: String, after: GreylistCursor?, limit: Int
    ) throws(GreylistUnavailable) -> GreylistPage { GreylistPage(rows: [], next: nil) }
    public func entry(for key: GreylistKey) throws(GreylistUnavailable) -> GreylistEntry? {
        state.withLock { $0.entries[key] }
    }
    public func allow(_ key: GreylistKey, now: UnixTime) throws(GreylistUnavailable) {
        state.withLock { $0.entries[key] = GreylistEntry.allowed($0.entries[key], now: now) }
    }
    public func forget(_ key: GreylistKey) throws(GreylistUnavailable) -> Int {
        state.withLock { $0.entries.removeValue(forKey: key) == nil ? 0 : 1 }
    }
    public func counts() throws(GreylistUnavailable) -> GreylistCounts {
        state.withLock { state in
            state.entries.reduce(into: GreylistCounts()) { counts, row in counts.add(1, row.key, row.value) }
        }
    }
    public func adopt(
        _ rows: [GreylistPage.Row], times: GreylistTimes, now: UnixTime
    ) throws(GreylistUnavailable) -> Int { 0 }
}

/// What the daemon's greylist knew about one request, as its answer shows.
struct GreylistSeed {
    let answer: GreylistAnswer
    let client: IPAddress
    let sender: ArraySlice<UInt8>
    let recipient: ArraySlice<UInt8>
    /// That SPF passes for, or would be asked for.
    let domain: DomainName?

    /// - Returns: nil where the answer shows nothing from before, or the settings have no such entry.
    func row(_ settings: GreylistSettings, now: UnixTime) -> GreylistPage.Row? {
        let client = client.unmapped
        let length = if case .v4 = client { settings.ipv4Prefix } else { settings.ipv6Prefix }
        let network = GreylistOrigin.client(Network(containing: client, prefixLength: length))
        let known = GreylistEntry(firstSeen: now, lastSeen: now, passedSince: now)
        func triplet(_ origin: GreylistOrigin, waited: Duration?) -> GreylistPage.Row {
            let entry = waited.map { GreylistEntry(firstSeen: (now - $0).wholeMilliseconds) } ?? known
            return GreylistPage.Row(.triplet(origin, sender, recipient), entry)
        }
        switch answer {
        case .pass(.knownClient, _): return GreylistPage.Row(.origin(network), known)
        case .pass(.knownDomain, _): return domain.map { GreylistPage.Row(.origin(.domain($0)), known) }
        case .pass(.triplet, let waited): return triplet(network, waited: waited)
        case .pass(.domainTriplet, let waited): return domain.map { triplet(.domain($0), waited: waited) }
        case .wait(_, let since):
            let waited = now - since
            // A moment ago is its own first try.
            return waited > .seconds(1) ? triplet(network, waited: waited) : nil
        case .needsIdentity, .unavailable: return nil
        }
    }
}

extension UnixTime {
    fileprivate static func - (time: UnixTime, duration: Duration) -> UnixTime {
        time + .nanoseconds(-duration.nanoseconds)
    }
}
