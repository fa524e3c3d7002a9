// Greylisting's memory in a store that several hosts share (RFC 6647): a client that was asked to wait by one MX and
// comes back to another is let in there. A decision is one script, one round trip, by the store's clock.
//
// When the store does not answer in its time this host decides by its own ledger, and no mail is refused or passes only
// for that. The ledger knows what this host was told while the store worked: what lets a client pass, and when a triplet
// came first. What it decides alone is told to the store when that is back (SharedGreylistCourier), so that nobody who
// has waited on one side waits on the other. What it cannot know is what other hosts have learnt about clients that
// have never come to this one: with the store gone those wait for the delay, once.

public import PosternAdmission
public import PosternMail

public final class SharedGreylist: GreylistLedger {
    /// Whose clock decisions go by.
    enum Clock: Sendable {
        case ofTheStore
        /// What callers say: for tests.
        case given

        /// What the scripts are handed: nothing where the store's clock is to count.
        func argument(_ now: UnixTime) -> [UInt8] {
            switch self {
            case .ofTheStore: []
            case .given: SharedGreylist.text(now.milliseconds)
            }
        }
    }

    let store: SharedStore
    let local: GreylistStore
    let courier: SharedGreylistCourier
    let clock: Clock
    /// What `counts` has estimated last, and when.
    let estimate = ShortLock<(counts: GreylistCounts, at: StoreDeadline)?>(nil)

    /// Nothing is opened yet.
    ///
    /// - Parameter local: this host's own ledger; `open` and `close` are called here.
    public convenience init(_ store: SharedStore, local: GreylistStore, log: any LogSink) {
        self.init(store, local: local, log: log, clock: .ofTheStore)
    }

    init(
        _ store: SharedStore, local: GreylistStore, log: any LogSink, clock: Clock,
        limits: SharedGreylistCourier.Limits = .init()
    ) {
        self.store = store
        self.local = local
        self.clock = clock
        courier = SharedGreylistCourier(store, local, log: log, clock: clock, limits: limits)
    }

    /// Opens this host's own ledger, and begins to keep it up with the store.
    public func open() {
        local.open()
        courier.start()
    }

    /// Brings what was decided to this host's ledger and its disk, and to the store what that lacks, as far as it works.
    public func flush() throws(GreylistUnavailable) {
        courier.work()
        try local.flush()
    }

    /// To be called last. What waits for the store goes there, if it answers now.
    public func close() {
        courier.stop()
        local.close()
    }

    /// Of this host's own ledger.
    public var health: StoreHealth { local.health }

    /// Entries that this host has decided about by itself, and that the store is to be told of yet.
    public var waiting: Int { courier.debts }

    public var readings: [CounterReading] { courier.readings + [.waiting(waiting, in: "greylist")] }

    // MARK: Deciding

    public func decide(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer {
        let keys = DecisionKeys(request)
        guard let told = told(keys, request, times, now, writes: true) else {
            store.countLocalDecision()
            return decideHere(keys, request, times, now)
        }
        courier.learn(told.rows, times, now)
        // What this host knows may not all be in it again: somebody may have waited here, or be known.
        guard case .wait(let remaining, _) = told.answer, courier.isMending else { return told.answer }
        switch local.foresee(request, times: times, now: now) {
        case .pass: return decideHere(keys, request, times, now)
        case .wait(let shorter, _) where shorter < remaining: return decideHere(keys, request, times, now)
        default: return told.answer
        }
    }

    private func decideHere(
        _ keys: DecisionKeys, _ request: GreylistRequest, _ times: GreylistTimes, _ now: UnixTime
    ) -> GreylistAnswer {
        let answer = local.decide(request, times: times, now: now)
        switch answer {
        case .pass, .wait: courier.owe(keys.all, times, now)
        case .needsIdentity, .unavailable: break  // nothing was written
        }
        return answer
    }

    public func foresee(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer {
        told(DecisionKeys(request), request, times, now, writes: false)?.answer
            ?? local.foresee(request, times: times, now: now)
    }

    /// - Returns: nil where the store has not answered, or not in words that are understood: its log line is written.
    private func told(
        _ keys: DecisionKeys, _ request: GreylistRequest, _ times: GreylistTimes, _ now: UnixTime, writes: Bool
    ) -> Told? {
        let arguments =
            Self.head(times, clock.argument(now)) + [
                Self.text(GreylistDecision.renewal(times).milliseconds(.up)),
                Self.text((times.remember / 2).milliseconds(.down)),
                request.identity == .notAsked ? [UInt8(ascii: "?")] : [],
                writes ? [UInt8(ascii: "w")] : [],
                GreylistRowKey.octets(of: .origin(.client(request.client))),
            ]
        let reply: StoreReply
        do throws(StoreFailure) {
            reply = try store.run(
                SharedGreylistScripts.decide, keys: keys.all.map { SharedGreylistEntry.key($0) }, arguments: arguments)
        } catch {
            return nil
        }
        guard let told = Told(reply, keys, times) else {
            courier.tellStrange()
            return nil
        }
        return told
    }

    /// The first arguments of each script that knows when entries end. Entries have whole milliseconds: what must have
    /// gone by is rounded up, and what may have, down, so that both mean the same as in nanoseconds.
    static func head(_ times: GreylistTimes, _ now: [UInt8]) -> [[UInt8]] {
        [
            now, text(times.delay.milliseconds(.up)), text(times.retryWithin.milliseconds(.down)),
            text(times.remember.milliseconds(.down)),
        ]
    }

    static func text(_ number: Int64) -> [UInt8] { Array(String(number).utf8) }
}

/// What one decision may look at, in the scripts' order.
struct DecisionKeys {
    let all: [GreylistKey]

    init(_ request: GreylistRequest) {
        let client = GreylistOrigin.client(request.client)
        var keys: [GreylistKey] = [
            .origin(client), .normalTriplet(client, sender: request.sender, recipient: request.recipient),
        ]
        if let domain = request.candidate.map({ GreylistOrigin.domain($0) }) {
            keys += [.origin(domain), .normalTriplet(domain, sender: request.sender, recipient: request.recipient)]
        }
        all = keys
    }
}

/// What the store has answered.
struct Told {
    let answer: GreylistAnswer
    /// What the answer rests upon, and what it has changed.
    let rows: [SharedGreylistCourier.Told]

    init?(_ reply: StoreReply, _ keys: DecisionKeys, _ times: GreylistTimes) {
        guard let elements = reply.array, let code = elements.first?.integer,
            let milliseconds = elements.dropFirst().first?.integer, let third = elements.dropFirst(2).first
        else { return nil }
        let now = UnixTime(milliseconds: milliseconds)
        let since = third.integer.map { UnixTime(milliseconds: $0) }
        let waited = since.map { now - $0 }
        switch code {
        case 0:
            guard let since, let waited, waited < times.delay else { return nil }
            answer = .wait(remaining: times.delay - waited, firstSeen: since)
        case 1: answer = .pass(.knownClient, waited: waited)
        case 2: answer = .pass(.knownDomain, waited: waited)
        case 3: answer = .pass(.triplet, waited: waited)
        case 4: answer = .pass(.domainTriplet, waited: waited)
        case 5: answer = .needsIdentity
        default: return nil
        }
        var rows: [SharedGreylistCourier.Told] = []
        var rest = elements.dropFirst(3)
        // At most one for a key.
        while rows.count < keys.all.count, let number = rest.popFirst()?.integer, let text = rest.popFirst()?.octets {
            guard let place = Int(exactly: number), place > 0, let key = keys.all.dropFirst(place - 1).first else {
                return nil
            }
            rows.append(SharedGreylistCourier.Told(key: key, text: text))
        }
        self.rows = rows
    }
}

extension Duration {
    enum Rounding { case up, down }

    /// Whole milliseconds, as the scripts count.
    fileprivate func milliseconds(_ rounding: Rounding) -> Int64 {
        let nanoseconds = max(0, nanoseconds)
        let whole = nanoseconds / 1_000_000
        return rounding == .up && nanoseconds % 1_000_000 > 0 ? whole + 1 : whole
    }
}
