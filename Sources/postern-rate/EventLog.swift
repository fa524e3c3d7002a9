// The last events of this run, numbered, and those who follow them. All followers read the same bounded memory, each at
// its own place: one that does not read costs nothing, and is dropped when what it has not read is forgotten.

import PosternDaemon
import PosternMail
import Synchronization

final class EventLog: Sendable {
    /// Some 500 octets each.
    static let maxKept = 1000
    /// Events that a follower is handed at once.
    private static let pageEvents = 100

    /// Which start of the daemon it was: numbers begin with 1 in each.
    let run: String
    private let state = Mutex(State())

    private struct State {
        /// The newest last; when full, each takes the place of the one `maxKept` before it.
        var kept: [(event: RateEvent, time: UnixTime)] = []
        var last: Int64 = 0

        var first: Int64 { last - Int64(kept.count) + 1 }

        subscript(_ number: Int64) -> (event: RateEvent, time: UnixTime) {
            kept[Int((number - 1) % Int64(EventLog.maxKept))]
        }
    }

    init(run: String) { self.run = run }

    func add(_ event: RateEvent, at time: UnixTime) {
        state.withLock { state in
            state.last += 1
            if state.kept.count < Self.maxKept {
                state.kept.append((event, time))
            } else {
                state.kept[Int((state.last - 1) % Int64(Self.maxKept))] = (event, time)
            }
        }
    }

    // MARK: Followers

    /// Where a follower begins.
    enum Place: Sendable {
        /// With all that is remembered.
        case oldest
        /// With what comes now.
        case newest
        /// With what was not before.
        case since(UnixTime)
        /// Behind the last that it has seen; all that is remembered, where that was another run's.
        case after(Int64, run: String)
    }

    /// First `{"run","last"}`, then events as they are or will be.
    /// - Parameter follows: what is still to happen, too.
    /// - Parameter dropped: called when a follower does not take what there is for it.
    func feed(_ place: Place, follows: Bool, dropped: @escaping @Sendable () -> Void) -> ControlFeed {
        let follower = Follower(log: self, next: number(of: place), follows: follows, dropped: dropped)
        return ControlFeed(ended: { follower.end() }, next: { follower.next() })
    }

    private func number(of place: Place) -> Int64 {
        state.withLock { state in
            switch place {
            case .oldest: state.first
            case .newest: state.last + 1
            case .since(let time):
                (state.first...(state.last + 1)).first { $0 > state.last || state[$0].time >= time }
                    ?? state.first
            case .after(let number, let run): run == self.run ? min(max(number, 0), state.last) + 1 : state.first
            }
        }
    }

    private var head: ControlDocument { state.withLock { ["run": .text(run), "last": .number($0.last)] } }

    /// - Returns: nil where the place is forgotten already.
    private func page(from number: Int64) -> [ControlDocument]? {
        state.withLock { state in
            guard number >= state.first else { return nil }
            let end = min(state.last, number + Int64(Self.pageEvents) - 1)
            guard number <= end else { return [] }
            return (number...end).map { state[$0].event.document($0, of: run, at: state[$0].time) }
        }
    }

    private final class Follower: Sendable {
        private let log: EventLog
        private let follows: Bool
        private let dropped: @Sendable () -> Void
        private let place: Mutex<Reading>

        private struct Reading {
            var number: Int64
            var hasBegun = false
            /// It was handed something, and has not asked for more yet.
            var isOwing = false
            /// It was told that it is too far behind.
            var isTooLate = false
        }

        init(log: EventLog, next: Int64, follows: Bool, dropped: @escaping @Sendable () -> Void) {
            self.log = log
            self.follows = follows
            self.dropped = dropped
            place = Mutex(Reading(number: next))
        }

        func next() -> ControlFeed.Part {
            place.withLock { place in
                guard place.hasBegun else {
                    place.hasBegun = true
                    return .documents([log.head])
                }
                place.isOwing = false
                guard !place.isTooLate else { return .end }
                guard let documents = log.page(from: place.number) else {
                    place.isTooLate = true
                    dropped()
                    return .documents([["error": "expected a follower that reads, found it too far behind"]])
                }
                guard !documents.isEmpty else { return follows ? .nothingYet : .end }
                place.number += Int64(documents.count)
                place.isOwing = true
                return .documents(documents)
            }
        }

        /// Whoever goes with something in hand was too slow, or was let go because of it.
        func end() {
            if follows, place.withLock({ $0.isOwing }) { dropped() }
        }
    }
}
