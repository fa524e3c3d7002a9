// What is known of the keys that sign, for metrics: whether DNS publishes them, and when they last signed. Outlives
// reloads. Nothing is decided by it.

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

    /// How long after a look the next one comes; after one that nobody answered.
    static let interval = Duration.seconds(3600)
    static let intervalAfterFailure = Duration.seconds(60)

    /// These keys have signed.
    func used(_ keys: [DKIMSigningKey], at now: UnixTime) {
        standings.withLock { standings in
            for key in keys { standings[Name(key), default: Standing()].lastUse = now }
        }
    }

    /// Asks DNS for the records of keys whose turn has come, in one batch.
    func look(at keys: [DKIMSigningKey], dns: () -> any DNSAnswering, now: MonotonicTime = .now(), log: any LogSink) {
        let due = standings.withLock { standings in
            keys.filter { key in standings[Name(key)]?.lookAt.map { $0 <= now } ?? true }
        }
        guard !due.isEmpty else { return }
        let names = due.map { key -> DomainName? in try? key.domain.prefixed("\(key.selector)._domainkey") }  // too long
        let answers = dns().answers(to: names.compactMap { $0.map { Question($0, .txt) } })
        var rest = answers[...]
        for (key, name) in zip(due, names) {
            let answer = name == nil ? Answer.noSuchName : rest.popFirst() ?? .temporaryFailure("no answer")
            do throws(CryptoError) {
                learn(key, try PublishedKey(answer, for: key.privateKey), now, log)
            } catch {
                learn(key, nil, now, log)
            }
        }
    }

    private func learn(_ key: DKIMSigningKey, _ found: PublishedKey?, _ now: MonotonicTime, _ log: any LogSink) {
        let name = Name(key)
        let isPublished: Bool? =
            switch found?.problem {
            case nil: found == nil ? nil : true
            case .temporaryFailure?: nil  // silence changes nothing
            default: false
            }
        let isNews = standings.withLock { standings in
            var standing = standings[name] ?? Standing()
            standing.lookAt = now + (isPublished == nil ? Self.intervalAfterFailure : Self.interval)
            let isNews = isPublished != nil && isPublished != standing.isPublished
            if isPublished != nil { standing.isPublished = isPublished }
            standings[name] = standing
            return isNews
        }
        guard isNews, isPublished == false else { return }
        log.info("key \(name): DNS does not publish it as it is; `postern dkim testkey` tells what is wrong")
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
