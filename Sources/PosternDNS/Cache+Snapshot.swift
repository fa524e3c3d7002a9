// From the cache to its snapshot and back. What is written is chosen in two rounds, those first that were asked for
// again; what is read keeps within all bounds, as if it had come from an upstream just now.

public import PosternMail

extension Cache {
    /// Which answers are wanted.
    public enum Round: CaseIterable, Sendable {
        /// Those that were asked for again.
        case proven
        /// Those asked for once.
        case others
    }

    /// Answers with so little time left are not worth a place.
    static let shortestKept = Duration.seconds(5)

    /// A part of what a snapshot holds, so that nobody waits while it is gathered.
    /// - Parameter place: where to begin: 0, then what the call before returned.
    /// - Parameter atMost: how many places are looked at.
    /// - Returns: the answers, and where to go on; nil: that was all.
    public func part(
        _ round: Round, from place: Int, atMost: Int, now: UnixTime
    ) -> (entries: [CacheSnapshot.Entry], next: Int?) {
        let start = min(max(0, place), entries.count)
        let range = start..<min(entries.count, start + max(1, atMost))
        let chosen = range.compactMap { index -> CacheSnapshot.Entry? in
            guard let entry = entries[index], queues.isProven(index) == (round == .proven) else { return nil }
            return snapshotEntry(entry, now)
        }
        return (chosen, range.upperBound < entries.count ? range.upperBound : nil)
    }

    private func snapshotEntry(_ entry: Entry, _ now: UnixTime) -> CacheSnapshot.Entry? {
        guard entry.body.rcode == .noError || entry.body.rcode == .nameError, entry.ends - now >= Self.shortestKept
        else { return nil }
        let left = max(.zero, entry.expires - now)
        return CacheSnapshot.Entry(
            question: entry.question, body: entry.body, elapsed: age(entry, now), left: left,
            staleLeft: entry.ends - now - left)
    }

    /// Takes an answer of a snapshot in, unless a newer one is here or it would push others out.
    /// - Parameter bounds: those of the name's zone; they hold for it as for any answer.
    /// - Returns: whether it was taken.
    public mutating func restore(_ entry: CacheSnapshot.Entry, now: UnixTime, bounds: Bounds) -> Bool {
        guard places[entry.question] == nil, count < settings.entries else { return false }
        let body = bounds.limited(entry.body)
        let left = min(entry.left, bounds.most(body))
        let staleLeft = body.answersNothing ? .zero : min(entry.staleLeft, bounds.stale)
        guard left > .zero || staleLeft > .zero else { return false }
        let kept = Entry(
            question: entry.question, body: body, stored: now, expires: now + left, ends: now + left + staleLeft)
        guard octetsInUse + kept.octets <= settings.octets else { return false }
        keep(kept)
        if left > .zero { noteCut(entry.question, body, bounds) }
        return true
    }
}
