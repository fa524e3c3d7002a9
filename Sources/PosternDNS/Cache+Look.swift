// What the admin does with the cache: looks at an entry without touching it, and lets the cache forget names.

public import PosternMail

extension Cache {
    /// How an answer stands at one moment.
    public enum Standing: Hashable, Sendable {
        case absent
        /// Its time is not over for so long.
        case fresh(left: Duration)
        /// A name above does not exist, or the name itself. Source: RFC 8020 §2.
        case cut(by: DomainName)
        /// Upstreams failed a moment ago; they are not asked for so long. A stale answer may be there.
        case failing(left: Duration, hasStale: Bool)
        /// Its time is over since `age`; it may be used for `left` yet if upstreams fail. Source: RFC 8767.
        case stale(age: Duration, left: Duration)
        /// Its time is over, and nothing may come of it.
        case expired
    }

    /// How the answer to `question` stands. Nothing is counted as a use.
    public func standing(of question: Question, now: UnixTime) -> Standing {
        let entry = places[question].flatMap { entries[$0] }
        if let entry, entry.isFresh(now) { return .fresh(left: entry.expires - now) }
        if let name = coveringCuts(question.name).first(where: {
            cuts[$0].flatMap { entries[$0] }?.isFresh(now) == true
        }) {
            return .cut(by: name)
        }
        guard let entry else { return .absent }
        if entry.isFailing(now), let until = entry.failedUntil {
            return .failing(left: until - now, hasStale: hasStale(question, now: now))
        }
        return hasStale(question, now: now) ? .stale(age: now - entry.expires, left: entry.ends - now) : .expired
    }

    // MARK: Forgetting

    /// Forgets all answers of one name, and those above it that say it does not exist.
    /// - Returns: how many answers went.
    public mutating func remove(_ name: DomainName) -> Int {
        let covering = coveringCuts(name).compactMap { cuts[$0] }
        return remove(places.values.filter { entries[$0]?.question.name == name } + covering)
    }

    /// Forgets all answers of a zone's name and of the names below it.
    /// - Returns: how many answers went.
    public mutating func remove(below zone: DomainName) -> Int {
        let covering = coveringCuts(zone).compactMap { cuts[$0] }
        return remove(places.values.filter { entries[$0]?.question.name.isEqualOrBelow(zone) == true } + covering)
    }

    private mutating func remove(_ chosen: [Int]) -> Int {
        let chosen = Set(chosen)
        for place in chosen { remove(at: place) }
        return chosen.count
    }

    /// The name and those above it of which NXDOMAIN was validated.
    private func coveringCuts(_ name: DomainName) -> [DomainName] {
        guard !cuts.isEmpty else { return [] }
        var found: [DomainName] = []
        var above: DomainName? = name
        while let name = above {  // a name has at most 127 labels
            if cuts[name] != nil { found.append(name) }
            above = name.parent
        }
        return found
    }
}
