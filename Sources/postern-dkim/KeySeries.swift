// Keys that take turns: those of one directory and algorithm, oldest first. Which one signs follows from what is known of
// each; nothing else is remembered, so that a restart with the same knowledge comes to the same key.

import PosternAuth
import PosternMail
import PosternSocket

/// What is known of one key.
struct KeyStanding: Hashable, Sendable {
    /// nil while nobody could tell.
    var isPublished: Bool?
    /// Since when that is so.
    var since: UnixTime?
    var lastUse: UnixTime?
    /// When a newer key of its series took over; nil while it signs, or waits for its turn.
    var retired: UnixTime?
    /// The log has said that its record may go.
    var isToldToGo = false
    /// When DNS is asked again; nil: now.
    var lookAt: MonotonicTime?
}

struct KeySeries: Hashable, Sendable {
    let folder: String
    let domain: DomainName
    let algorithm: DKIMAlgorithm

    /// - Returns: nil for a key that signs by itself.
    init?(_ key: DKIMSigningKey) {
        guard let folder = key.series else { return nil }
        (self.folder, domain, algorithm) = (folder, key.domain, key.privateKey.algorithm)
    }

    /// The keys of each series, oldest first.
    static func groups(_ keys: [DKIMSigningKey]) -> [KeySeries: [DKIMSigningKey]] {
        var groups: [KeySeries: [DKIMSigningKey]] = [:]
        for key in keys { if let series = KeySeries(key) { groups[series, default: []].append(key) } }
        return groups
    }

    /// Whose turn it is: the newest that DNS publishes; while none is known to be published, the newest that was in use
    /// and is not known to be missing, then the oldest of the latter kind. Where DNS positively lacks all of them, the one
    /// that signed last: a domain's last key is never switched off.
    /// - Parameter group: the keys of a series, oldest first.
    static func signer(
        of group: [DKIMSigningKey], standing: (KeyStandings.Name) -> KeyStanding?
    ) -> KeyStandings.Name? {
        let keys = group.map { key in
            let name = KeyStandings.Name(key)
            return (name: name, standing: standing(name) ?? KeyStanding())
        }
        if let published = keys.last(where: { $0.standing.isPublished == true }) { return published.name }
        let possible = keys.filter { $0.standing.isPublished == nil }
        if let used = possible.last(where: { $0.standing.lastUse != nil }) { return used.name }
        if let oldest = possible.first { return oldest.name }
        // Of equals the first: the oldest.
        var best = keys.first
        for key in keys.dropFirst() {
            guard let use = key.standing.lastUse else { continue }
            if best?.standing.lastUse.map({ use > $0 }) ?? true { best = key }
        }
        return best?.name
    }
}
