// What is known of the keys that sign: whether DNS publishes them, and when they last signed. Outlives reloads. A signature
// whose record DNS positively lacks fails everywhere: with `dkim.require_published` such a key rests while another of its
// domain can sign. That nobody answers changes nothing.

import PosternAuth
import PosternDNS
import PosternMail
import PosternSocket
import Synchronization

final class KeyStandings: Sendable {
    /// A key by the name of its record.
    struct Name: Hashable, Sendable, CustomStringConvertible {
        let domain: DomainName
        let selector: DomainName

        init(_ key: DKIMSigningKey) { (domain, selector) = (key.domain, key.selector) }
        var description: String { "\(selector)._domainkey.\(domain)" }
    }

    private struct Standing {
        /// nil while nobody could tell.
        var isPublished: Bool?
        var lastUse: UnixTime?
        var lookAt: MonotonicTime?
    }

    private let standings = Mutex<[Name: Standing]>([:])

    /// How long after a look the next one comes; while the record is missing, since it may be on its way; after one that
    /// nobody answered.
    static let interval = Duration.seconds(3600)
    static let intervalWhileMissing = Duration.seconds(300)
    static let intervalAfterFailure = Duration.seconds(60)

    /// These keys have signed.
    func used(_ keys: [DKIMSigningKey], at now: UnixTime) {
        standings.withLock { standings in
            for key in keys { standings[Name(key), default: Standing()].lastUse = now }
        }
    }

    /// Those of the keys for a message that can be verified: all but the ones whose record DNS lacks or contradicts. Of
    /// several none is left out where all are like that: an unsigned message is lost for certain.
    /// - Parameter keys: of one domain.
    func published(among keys: [DKIMSigningKey]) -> [DKIMSigningKey] {
        let published = standings.withLock { standings in
            keys.filter { standings[Name($0)]?.isPublished != false }
        }
        return published.isEmpty ? keys : published
    }

    /// Asks DNS for the records of keys whose turn has come, in one batch.
    /// - Parameter isRequired: keys that are not published rest.
    func look(
        at keys: [DKIMSigningKey], isRequired: Bool, dns: () -> any DNSAnswering, now: MonotonicTime = .now(),
        log: any LogSink
    ) {
        let due = standings.withLock { standings in
            keys.filter { key in standings[Name(key)]?.lookAt.map { $0 <= now } ?? true }
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
            if learn(key, found, now) { changed.append(key) }
        }
        for key in changed { tell(key, of: keys, isRequired, log) }
    }

    /// - Returns: whether it is published now and was not, or the other way round.
    private func learn(_ key: DKIMSigningKey, _ found: PublishedKey?, _ now: MonotonicTime) -> Bool {
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
        return standings.withLock { standings in
            var standing = standings[Name(key)] ?? Standing()
            defer { standings[Name(key)] = standing }
            standing.lookAt = now + wait
            guard let isPublished else { return false }
            let before = standing.isPublished
            standing.isPublished = isPublished
            return before.map { $0 != isPublished } ?? !isPublished
        }
    }

    /// Once for each change.
    private func tell(_ key: DKIMSigningKey, of keys: [DKIMSigningKey], _ isRequired: Bool, _ log: any LogSink) {
        let name = Name(key)
        guard standings.withLock({ $0[name]?.isPublished }) == false else {
            log.info("key \(name): DNS publishes it\(isRequired ? ", it signs" : "")")
            return
        }
        let rests =
            isRequired && !published(among: keys.filter { $0.domain == key.domain }).contains { Name($0) == name }
        log.warning(
            "key \(name): DNS does not publish it as it is; "
                + (rests ? "it does not sign until then" : "it signs all the same")
                + ", and `postern dkim testkey` tells what is wrong")
    }

    /// Of keys in force.
    func gauges(of keys: [DKIMSigningKey]) -> [CounterReading] {
        let names = Set(keys.prefix(Self.maxKeys).map(Name.init)).sorted { "\($0)" < "\($1)" }
        return standings.withLock { standings in
            names.flatMap { name -> [CounterReading] in
                func reading(_ noun: String, _ value: Int64?) -> CounterReading? {
                    value.map {
                        CounterReading(CounterName("postern_dkim_key_\(noun)", "key", "\(name)"), UInt64(clamping: $0))
                    }
                }
                let standing = standings[name]
                return [
                    reading("published", standing?.isPublished.map { $0 ? 1 : 0 }),
                    reading("last_use_timestamp_seconds", standing?.lastUse?.seconds),
                ].compactMap(\.self)
            }
        }
    }

    /// Most keys that are told.
    private static let maxKeys = 1000
}
