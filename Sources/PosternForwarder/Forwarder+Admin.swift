// What the admin and the daemon's own thread ask of a forwarder: statistics, a trace, forgetting, and the cache's
// snapshot.

public import PosternDNS
public import PosternMail

/// What the cache shall forget.
public enum Flush: Hashable, Sendable {
    /// All answers of one name.
    case name(DomainName)
    /// Those of a name and all below it.
    case zone(DomainName)
    case all
}

extension Forwarder {
    var statistics: ForwarderStatistics {
        var all = bookkeeping.statistics
        all.upstreams = allUpstreams.map(\.reading).sorted { "\($0.upstream)" < "\($1.upstream)" }
        return all
    }

    /// - Returns: how many answers went. What is being asked upstream meanwhile is newer, and stays.
    @discardableResult
    func flush(_ what: Flush) -> Int {
        switch what {
        case .name(let name): return cache.remove(name)
        case .zone(let zone): return cache.remove(below: zone)
        case .all:
            defer { cache.removeAll() }
            return cache.count
        }
    }

    /// Asks as a client would; `done` is called once, perhaps before this returns.
    func trace(_ question: Question, _ done: @escaping (ForwarderTrace) -> Void) {
        let began = now()
        let recorder = TraceRecorder(began: began)
        let standing = cache.standing(of: question, now: began)
        func end(_ body: ResponseBody, _ elapsed: UInt32, _ source: ForwarderTrace.Source) {
            done(
                ForwarderTrace(
                    standing: standing, steps: recorder.steps, body: body, elapsed: elapsed, source: source,
                    time: now() - began))
        }
        if let (body, elapsed) = find(question, from: .control) {
            end(body, elapsed, lastSource == .local ? .staticZone : lastSource == .stale ? .stale : .cache)
            return
        }
        tracing = recorder
        wait(for: question, client: .process(0), from: .control) { [self] body in
            end(body, 0, lastSource == .stale ? .stale : .upstream)
        }
        tracing = nil
    }

    // MARK: Snapshot

    /// A part of what outlives a restart. What lists deny is left out: it is most of what is asked, and is asked once.
    func part(_ round: Cache.Round, from place: Int, atMost: Int) -> SnapshotPart {
        let part = cache.part(round, from: place, atMost: atMost, now: now())
        let kept = part.entries.filter { !$0.body.answersNothing || settings.rules(for: $0.question).list == nil }
        return SnapshotPart(entries: kept, next: part.next)
    }

    /// Takes answers of a snapshot into the cache.
    /// - Returns: how many there was room and time for.
    func restore(_ entries: ArraySlice<CacheSnapshot.Entry>) -> Int {
        let now = now()
        return entries.count { entry in
            let resolution = entry.body.resolution(of: entry.question, elapsed: entry.elapsed)
            let bounds = settings.bounds(settings.rules(for: entry.question), resolution)
            return cache.restore(entry, now: now, bounds: bounds)
        }
    }
}

/// A part of a snapshot, and where the next begins.
public struct SnapshotPart: Sendable {
    public let entries: [CacheSnapshot.Entry]
    public let next: Int?
}

extension ForwarderServer {
    /// What was counted by zone, client and upstream.
    public var statistics: ForwarderStatistics { onLoop(\.statistics) ?? ForwarderStatistics() }

    /// - Returns: how many answers were forgotten.
    @discardableResult
    public func flush(_ what: Flush) -> Int { onLoop { $0.flush(what) } ?? 0 }

    /// Asks as a client would, and does not wait. `done` is called on the event loop; never after the end.
    public func trace(_ question: Question, _ done: @escaping @Sendable (ForwarderTrace) -> Void) {
        onLoop { $0.trace(question, done) }
    }

    /// Cache entries looked at in one turn of the event loop: a fraction of a millisecond.
    private static let entriesAtOnce = 1024

    /// All that a snapshot holds, piece by piece; clients are answered meanwhile.
    /// - Parameter take: false: no more is wanted.
    public func eachSnapshotPart(_ take: ([CacheSnapshot.Entry]) throws -> Bool) rethrows {
        for round in Cache.Round.allCases {
            var place: Int? = 0
            while let from = place {
                guard let part = onLoop({ $0.part(round, from: from, atMost: Self.entriesAtOnce) }) else { return }
                guard try take(part.entries) else { return }
                place = part.next
            }
        }
    }

    /// Takes a snapshot's answers into the cache, piece by piece.
    /// - Returns: how many there was room and time for.
    public func restore(_ entries: [CacheSnapshot.Entry]) -> Int {
        var (rest, count) = (entries[...], 0)
        while !rest.isEmpty {
            let part = rest.prefix(Self.entriesAtOnce)
            count += onLoop { $0.restore(part) } ?? 0
            rest = rest.dropFirst(part.count)
        }
        return count
    }
}
