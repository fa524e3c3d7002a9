// What is known of the keys that sign: whether DNS publishes them, and when they last signed. Outlives reloads, and with
// KeyStateKeeper restarts. A signature whose record DNS positively lacks fails everywhere: with `dkim.require_published`
// such a key rests while another of its domain can sign. Of a directory's keys one of each algorithm signs: the newest
// that DNS publishes. That nobody answers changes nothing.

import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import PosternSocket
import Synchronization

final class KeyStandings: Sendable {
    /// A key by the name of its record.
    struct Name: Hashable, Sendable, CustomStringConvertible {
        let domain: DomainName
        let selector: DomainName

        init(_ key: DKIMSigningKey) { self.init(domain: key.domain, selector: key.selector) }
        init(domain: DomainName, selector: DomainName) { (self.domain, self.selector) = (domain, selector) }
        var description: String { "\(selector)._domainkey.\(domain)" }
    }

    private struct State {
        var standings: [Name: KeyStanding] = [:]
        /// Who signed of each series when it was last reviewed.
        var signers: [KeySeries: Name] = [:]
        /// Something that is worth keeping has changed since it was last taken.
        var isChanged = false

        /// The key of each series that signs.
        func signers(among keys: [DKIMSigningKey]) -> [KeySeries: Name] {
            KeySeries.groups(keys).compactMapValues { group in KeySeries.signer(of: group) { standings[$0] } }
        }

        /// Without those of a series whose turn it is not.
        func taking(turns keys: [DKIMSigningKey]) -> [DKIMSigningKey] {
            guard keys.contains(where: { $0.series != nil }) else { return keys }
            let signers = signers(among: keys)
            return keys.filter { key in KeySeries(key).map { signers[$0] == Name(key) } ?? true }
        }
    }

    private let state = Mutex(State())

    /// How long after a look the next one comes; while the record is missing, since it may be on its way; after one that
    /// nobody answered.
    static let interval = Duration.seconds(3600)
    static let intervalWhileMissing = Duration.seconds(300)
    static let intervalAfterFailure = Duration.seconds(60)

    /// These keys have signed.
    func used(_ keys: [DKIMSigningKey], at now: UnixTime) {
        state.withLock { state in
            for key in keys { state.standings[Name(key), default: KeyStanding()].lastUse = now }
            state.isChanged = true
        }
    }

    /// Those of the keys for a message that sign it: of a series the one whose turn it is.
    /// - Parameter keys: of one domain.
    /// - Parameter isRequired: keys that are not published rest.
    func signing(among keys: [DKIMSigningKey], isRequired: Bool) -> [DKIMSigningKey] {
        let keys = state.withLock { $0.taking(turns: keys) }
        return isRequired ? published(among: keys) : keys
    }

    /// Those of the keys for a message that can be verified: all but the ones whose record DNS lacks or contradicts. Of
    /// several none is left out where all are like that: an unsigned message is lost for certain.
    /// - Parameter keys: of one domain.
    func published(among keys: [DKIMSigningKey]) -> [DKIMSigningKey] {
        let published = state.withLock { state in
            keys.filter { state.standings[Name($0)]?.isPublished != false }
        }
        return published.isEmpty ? keys : published
    }

    /// Asks DNS for the records of keys whose turn has come, in one batch.
    /// - Parameter isRequired: keys that are not published rest.
    /// - Parameter clock: the same moment as `now`.
    func look(
        at keys: [DKIMSigningKey], isRequired: Bool, dns: () -> any DNSAnswering, now: MonotonicTime = .now(),
        clock: UnixTime = WallClock.now(), log: any LogSink
    ) {
        let due = state.withLock { state in
            keys.filter { key in state.standings[Name(key)]?.lookAt.map { $0 <= now } ?? true }
        }
        guard !due.isEmpty else { return }
        let names = due.map { key -> DomainName? in try? key.domain.prefixed("\(key.selector)._domainkey") }  // too long
        let answers = dns().answers(to: names.compactMap { $0.map { Question($0, .txt) } })
        var rest = answers[...]
        var changed: [DKIMSigningKey] = []
        for (key, name) in zip(due, names) {
            let answer = name == nil ? Answer.noSuchName : rest.popFirst() ?? .temporaryFailure("no answer")
            // A key of ours that cannot be read any more is not DNS's fault.
            let found = try? PublishedKey(answer, for: key.privateKey)
            if learn(key, found, now, clock) { changed.append(key) }
        }
        for key in changed { tell(key, of: keys, isRequired, log) }
    }

    /// DNS is asked anew for all keys, as soon as somebody looks.
    func lookAgain() {
        state.withLock { state in for name in state.standings.keys { state.standings[name]?.lookAt = nil } }
    }

    /// - Returns: whether it is published now and was not, or the other way round.
    private func learn(
        _ key: DKIMSigningKey, _ found: PublishedKey?, _ now: MonotonicTime, _ clock: UnixTime
    ) -> Bool {
        let isPublished: Bool? =
            switch found?.problem {
            case nil: found == nil ? nil : true
            case .temporaryFailure?: nil  // silence changes nothing
            default: false
            }
        let wait =
            switch isPublished {
            case true?: Self.interval
            case false?: Self.intervalWhileMissing
            case nil: Self.intervalAfterFailure
            }
        return state.withLock { state in
            var standing = state.standings[Name(key)] ?? KeyStanding()
            defer { state.standings[Name(key)] = standing }
            standing.lookAt = now + wait
            guard let isPublished else { return false }
            let before = standing.isPublished
            guard before != isPublished else { return false }
            (standing.isPublished, standing.since) = (isPublished, clock)
            state.isChanged = true
            return before != nil || !isPublished
        }
    }

    /// Once for each change.
    private func tell(_ key: DKIMSigningKey, of keys: [DKIMSigningKey], _ isRequired: Bool, _ log: any LogSink) {
        let name = Name(key)
        let (standing, isItsTurn) = state.withLock { state in
            (state.standings[name], state.taking(turns: keys).contains { Name($0) == name })
        }
        let signs = signing(among: keys.filter { $0.domain == key.domain }, isRequired: isRequired)
            .contains { Name($0) == name }
        switch (standing?.isPublished == true, isItsTurn) {
        case (true, true): log.info("key \(name): DNS publishes it\(isRequired ? ", it signs" : "")")
        case (true, false): log.info("key \(name): DNS publishes it")
        case (false, false) where standing?.isToldToGo == true:
            log.info("key \(name): its record is gone; its file may go")
        // One that waits for its record, or whose record was taken away before its time.
        case (false, false): log.info("key \(name): DNS does not publish it; another of its directory signs")
        case (false, true):
            log.warning(
                "key \(name): DNS does not publish it as it is; "
                    + (signs ? "it signs all the same" : "it does not sign until then")
                    + ", and `postern dkim testkey` tells what is wrong")
        }
    }

    // MARK: Series

    /// Sees whose turn it is in each series; tells each take-over once, and once that an older key's record may go.
    /// - Parameter keep: how long it stays after the take-over.
    func review(_ keys: [DKIMSigningKey], keep: Duration, at now: UnixTime, log: any LogSink) {
        let groups = KeySeries.groups(keys)
        guard !groups.isEmpty else { return }
        let lines = state.withLock { state in
            groups.values.flatMap { group in Self.review(group, keep: keep, at: now, &state) }.sorted()
        }
        for line in lines { log.info(line) }
    }

    private static func review(
        _ group: [DKIMSigningKey], keep: Duration, at now: UnixTime, _ state: inout State
    ) -> [String] {
        let names = group.map(Name.init)
        guard let series = group.first.flatMap(KeySeries.init),
            let signer = KeySeries.signer(of: group, standing: { state.standings[$0] }),
            let turn = names.firstIndex(of: signer)
        else { return [] }
        var lines: [String] = []
        if let before = state.signers.updateValue(signer, forKey: series), before != signer {
            let isOlder = names.prefix(turn).contains(before)
            lines.append(
                "key \(signer): takes over from \(before)"
                    + (isOlder ? ", whose record stays published for \(Quantity.duration(keep)) more" : ""))
        }
        for (index, name) in names.enumerated() {
            var standing = state.standings[name] ?? KeyStanding()
            if index >= turn {
                (standing.retired, standing.isToldToGo) = (nil, false)
            } else {
                // A clock that was put back, or a damaged file: nothing has retired in the future.
                let retired = min(standing.retired ?? now, now)
                standing.retired = retired
                if !standing.isToldToGo, now >= retired + keep {
                    standing.isToldToGo = true
                    lines.append(
                        "key \(name): its record may go now: revoke it by an empty p= or remove it, then remove its file "
                            + "from \(LogText.escaped(series.folder.utf8))")
                }
            }
            guard standing != state.standings[name] ?? KeyStanding() else { continue }
            state.standings[name] = standing
            state.isChanged = true
        }
        return lines
    }

    // MARK: Keeping

    /// Takes what was known at an earlier time; what is known since stays.
    func restore(_ older: [Name: KeyStanding]) {
        state.withLock { $0.standings.merge(older) { known, _ in known } }
    }

    /// What is worth keeping of these keys.
    func known(of keys: [DKIMSigningKey]) -> [Name: KeyStanding] {
        state.withLock { state in
            let names = Set(keys.map(Name.init))
            return state.standings.filter { names.contains($0.key) }
        }
    }

    /// Whether something has changed since it was asked last.
    func takeChange() -> Bool {
        state.withLock { state in
            defer { state.isChanged = false }
            return state.isChanged
        }
    }

    /// What was taken was not kept.
    func noteChange() { state.withLock { $0.isChanged = true } }

    // MARK: Telling

    /// Of keys in force. That DNS lacks a key whose turn it is not is as it should be, and not told.
    func gauges(of keys: [DKIMSigningKey]) -> [CounterReading] {
        let names = Set(keys.prefix(Self.maxKeys).map(Name.init)).sorted { "\($0)" < "\($1)" }
        return state.withLock { state in
            let turns = Set(state.taking(turns: keys).map(Name.init))
            return names.flatMap { name -> [CounterReading] in
                func reading(_ noun: String, _ value: Int64?) -> CounterReading? {
                    value.map {
                        CounterReading(CounterName("postern_dkim_key_\(noun)", "key", "\(name)"), UInt64(clamping: $0))
                    }
                }
                let standing = state.standings[name]
                let isPublished = standing?.isPublished.flatMap { $0 || turns.contains(name) ? $0 : nil }
                return [
                    reading("published", isPublished.map { $0 ? 1 : 0 }),
                    reading("last_use_timestamp_seconds", standing?.lastUse?.seconds),
                ].compactMap(\.self)
            }
        }
    }

    /// The answer to `dkim keys` on the control socket: each key in force, times in seconds since 1970.
    func document(of keys: [DKIMSigningKey], isRequired: Bool, keep: Duration) -> ControlDocument {
        let keys = keys.prefix(Self.maxKeys)
        var signing: Set<Name> = []
        for keys in Dictionary(grouping: keys, by: \.domain).values {
            signing.formUnion(self.signing(among: keys, isRequired: isRequired).map(Name.init))
        }
        let known = known(of: Array(keys))
        return [
            "keys": .list(
                keys.map { key in
                    let name = Name(key)
                    let standing = known[name]
                    return [
                        "name": .text("\(name)"), "signs": .boolean(signing.contains(name)),
                        "published": standing?.isPublished.map { .boolean($0) } ?? .null,
                        "since": standing?.since.map { .number($0.seconds) } ?? .null,
                        "last_use": standing?.lastUse.map { .number($0.seconds) } ?? .null,
                        "record_may_go": standing?.retired.map { .number(($0 + keep).seconds) } ?? .null,
                    ]
                })
        ]
    }

    /// Most keys that are told.
    private static let maxKeys = 1000
}
