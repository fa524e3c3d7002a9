// The health of all DNS lists, for all threads: DNSBLListState's machines behind one lock. The judge tells it what came;
// the daemon calls `probe` once a second, which asks only for lists whose time has come, and writes the notices.

public import PosternDNS
public import PosternMail
import Synchronization

public final class DNSBLHealth: Sendable {
    /// How long the probes' answers are waited for.
    static let probeBudget = Duration.seconds(3)

    /// What is proved and suspended as one.
    struct Key: Hashable, Sendable {
        let zone: DomainName
        let by: DNSBLSubject

        init(_ list: DNSBLListSettings) { (zone, by) = (list.zone, list.by) }
    }

    private struct Entry {
        let key: Key
        let shown: String
        let probe: DNSBLProbe
        var state = DNSBLListState()
    }

    private let entries: Mutex<[Entry]>
    private let places: [Key: Int]
    private let notify: @Sendable (DNSBLNotice) -> Void

    /// - Parameter older: the health before a reload: what is known of lists that stay goes on.
    /// - Parameter notify: takes each change once, from any thread; not called under the lock.
    public init(
        _ lists: [DNSBLListSettings], after older: DNSBLHealth? = nil,
        notify: @escaping @Sendable (DNSBLNotice) -> Void = { _ in }
    ) {
        var seen: Set<Key> = []
        let lists = lists.filter { seen.insert(Key($0)).inserted }
        let known = older?.states ?? [:]
        entries = Mutex(
            lists.map { list in
                let key = Key(list)
                return Entry(
                    key: key, shown: ZoneName.redacted(list.zone), probe: DNSBLProbe(list),
                    state: known[key] ?? DNSBLListState())
            })
        places = Dictionary(lists.enumerated().map { (Key($1), $0) }, uniquingKeysWith: { first, _ in first })
        self.notify = notify
    }

    private var states: [Key: DNSBLListState] {
        entries.withLock { entries in
            Dictionary(entries.map { ($0.key, $0.state) }, uniquingKeysWith: { first, _ in first })
        }
    }

    /// All lists in the settings' order.
    public var statuses: [DNSBLListStatus] { entries.withLock { $0.map(Self.status) } }

    private static func status(_ entry: Entry) -> DNSBLListStatus {
        let state = entry.state
        let shown: DNSBLListStatus.State =
            state.isUsable ? .working : state.problem == .unproved ? .unproved : .suspended
        let flaw = state.lacksTestEntry ? "TEST is not listed: no way to see that it works" : nil
        return DNSBLListStatus(
            zone: entry.shown, by: entry.key.by, state: shown, reason: state.problem.map { "\($0)" } ?? flaw,
            since: state.since, lastProbe: state.lastProbe, nextProbe: state.nextProbe, listsIPv6: state.listsIPv6,
            answers: state.answers, listings: state.listings, failures: state.failures,
            suspensions: state.suspensions)
    }

    // MARK: Proving

    /// Proves the lists whose time has come, all in one batch; first of all every list, once. Call it at the start and
    /// then once a second, from one thread: where nothing is due, it costs a look.
    ///
    /// - Parameter dns: made only where something is asked.
    public func probe(now: UnixTime, dns: () -> any DNSAnswering) {
        let due = entries.withLock { entries in
            entries.indices.filter { entries[$0].state.begin(now: now) }.map { ($0, entries[$0].probe) }
        }
        guard !due.isEmpty else { return }
        let answers = dns().answers(to: due.flatMap { $0.1.questions }, within: Self.probeBudget) { _ in false }
        var rest = answers[...]
        var proofs: [(Int, DNSBLListState.Proof)] = []
        for (place, probe) in due {
            let own = rest.prefix(probe.questions.count)
            rest = rest.dropFirst(own.count)
            proofs.append((place, probe.proof(own.map { $0 ?? .temporaryFailure("no answer") })))
        }
        let isAnyAnswered = proofs.contains { if case .silent = $0.1 { false } else { true } }
        let notices = entries.withLock { entries in
            proofs.compactMap { place, proof -> DNSBLNotice? in
                let change = entries[place].state.proved(proof, isAlone: isAnyAnswered, now: now)
                return change.map { Self.notice(entries[place].shown, $0) }
            }
        }
        notices.forEach(notify)
    }

    // MARK: Watching

    /// Why a list is not asked; nil for one that is.
    func problem(of key: Key) -> String? {
        guard let place = places[key] else { return nil }
        return entries.withLock { $0[place].state.problem }.map { "\($0)" }
    }

    /// Takes what came for one request.
    /// - Returns: of each whether the answer may be believed: the list has not fallen ill by it, or meanwhile.
    func watch(_ readings: [(key: Key, reading: DNSBLReading, subject: Int)], now: UnixTime) -> [Bool] {
        guard !readings.isEmpty else { return [] }  // all connections meet at the lock
        var notices: [DNSBLNotice] = []
        let isBelieved = entries.withLock { entries in
            readings.map { key, reading, subject in
                guard let place = places[key] else { return true }
                if let change = entries[place].state.watch(reading, subject: subject, now: now) {
                    notices.append(Self.notice(entries[place].shown, change))
                }
                return entries[place].state.isUsable
            }
        }
        notices.forEach(notify)
        return isBelieved
    }

    private static func notice(_ zone: String, _ change: DNSBLListState.Change) -> DNSBLNotice {
        switch change {
        case .suspended(let problem, let retry):
            let next = retry == .zero ? "asked again when its test entries are right" : "looked at again in a minute"
            return DNSBLNotice(
                zone: zone, change: .suspended, text: "DNS list \(zone) is suspended: \(problem); \(next)")
        case .returned(let time):
            let seconds = time.nanoseconds / 1_000_000_000
            return DNSBLNotice(
                zone: zone, change: .returned, text: "DNS list \(zone) works again, after \(seconds) s; it is asked")
        }
    }
}

extension DNSBLProbe {
    /// What the answers prove. Source: RFC 5782 §5.
    func proof(_ answers: [Answer]) -> DNSBLListState.Proof {
        var failure: String?
        var lacking: String?
        var listsIPv6: Bool?
        let isOfNames = !expectations.contains(.listedV6)
        for (answer, expectation) in zip(answers, expectations) {
            let found: [IPAddress]
            // No score is named here: every address that a list may answer is among those that do not count.
            switch DNSBLReading(answer, []) {
            case .refused(let address): return .bad(.refused(address))
            case .foreign(let address): return .bad(.foreign(address))
            case .silent(let text):
                // Many servers of IPv4 lists cannot say anything about IPv6.
                if expectation == .listed || expectation == .notListed { failure = failure ?? text }
                continue
            case .listed(_, let addresses), .notListed(let addresses): found = addresses
            }
            switch expectation {
            case .listed: if found.isEmpty { lacking = isOfNames ? "TEST" : "127.0.0.2" }
            case .notListed: if !found.isEmpty { return .bad(.lists(isOfNames ? "INVALID" : "127.0.0.1")) }
            case .listedV6: listsIPv6 = !found.isEmpty
            case .notListedV6: if !found.isEmpty { return .bad(.lists("::ffff:127.0.0.1")) }
            }
        }
        if let failure { return .silent(failure) }
        // Not RFC 5782 §5: well-known lists of names have test entries of their own names only.
        if let lacking, !isOfNames { return .bad(.lacks(lacking)) }
        return .good(lacksTestEntry: lacking != nil, listsIPv6: listsIPv6)
    }
}
