// Whether one DNS list works: a state machine without a clock. Lists die, are parked, refuse resolvers, or list the world
// in the end; each of these has rejected all mail of somebody. So a list is not asked until its test entries are right
// (RFC 5782 §5), is proved again from time to time, and each answer of it is watched:
//
// - 127.255/16 (it refuses us) or an address outside 127/8 (it is parked): suspended at once;
// - no answer many times in a row, over some time: suspended;
// - suddenly nearly everybody is listed, where far from all were before: suspended until its test entries are right;
//   long before that, a few clients listed in a row have it proved again.
//
// A suspended list is proved again after a minute, then after twice as long each time, up to an hour.

internal import PosternMail

struct DNSBLListState {
    enum Problem: Hashable {
        /// Not proved yet.
        case unproved
        case refused(IPAddress)
        case foreign(IPAddress)
        /// What must be listed is not.
        case lacks(String)
        /// What must not be listed is.
        case lists(String)
        case silent(String)
        /// Percent of the last clients that were listed, and of those before.
        case jump(Int, before: Int)
    }

    enum Change: Hashable {
        case suspended(Problem, retry: Duration)
        /// Suspended for some time, and works again.
        case returned(after: Duration)
    }

    static let probeInterval = Duration.seconds(15 * 60)
    static let firstRetry = Duration.seconds(60)
    static let longestRetry = Duration.seconds(3600)
    /// How soon a list is proved that was never seen at work.
    static let unprovedRetry = Duration.seconds(5)
    /// Failures in a row that are silence, if they go on for longer than `silentTime`: one lost packet or one second
    /// without network is none.
    static let silentFailures = 8
    static let silentTime = Duration.seconds(10)
    /// How many different clients a share is taken of, and how many listed ones of them are a jump.
    static let window = 64
    static let jumpListed = 62
    /// So many different clients listed in a row have a list proved at once, if it was not for `doubtInterval`.
    static let doubtful = 8
    static let doubtInterval = Duration.seconds(60)
    /// What is known before: at least so many, of whom at most so many percent were listed.
    static let minBefore: UInt64 = 128
    static let maxPercentBefore: UInt64 = 80
    /// How many are remembered at most; then half of them count.
    static let maxBefore: UInt64 = 4096

    /// Nil while the list works.
    private(set) var problem: Problem? = .unproved
    /// When `problem` came or went.
    private(set) var since: UnixTime?
    private(set) var lastProbe: UnixTime?
    private(set) var nextProbe: UnixTime?
    /// The list of names has no TEST. Many have none, so that is only told.
    private(set) var lacksTestEntry = false
    private(set) var listsIPv6: Bool?
    private(set) var suspensions = 0
    private(set) var answers = 0
    private(set) var listings = 0
    private(set) var failures = 0

    private var retry = firstRetry
    private var failuresInRow = 0
    private var firstFailure: UnixTime?
    private var share = Share()

    var isUsable: Bool { problem == nil }

    // MARK: Watching

    /// - Parameter subject: tells clients from one another: one that comes often counts once.
    mutating func watch(_ reading: DNSBLReading, subject: Int, now: UnixTime) -> Change? {
        guard isUsable else { return nil }  // suspended by another request meanwhile
        switch reading {
        case .listed, .notListed:
            answers &+= 1
            failuresInRow = 0
            firstFailure = nil
            let isListed = if case .listed = reading { true } else { false }
            if isListed { listings &+= 1 }
            guard let jump = share.take(subject, isListed) else {
                let isOld = lastProbe.map { now - $0 >= Self.doubtInterval } ?? true
                if share.listedInRow >= Self.doubtful, isOld { nextProbe = now }
                return nil
            }
            return suspend(.jump(jump.now, before: jump.before), retry: .zero, now)
        case .silent(let text): return fail(text, now)
        case .refused(let address): return suspend(.refused(address), retry: Self.firstRetry, now)
        case .foreign(let address): return suspend(.foreign(address), retry: Self.firstRetry, now)
        }
    }

    private mutating func fail(_ text: String, _ now: UnixTime) -> Change? {
        failures &+= 1
        failuresInRow = min(failuresInRow + 1, Self.silentFailures)
        // A clock that was set back makes the row begin anew.
        let first = firstFailure.map { $0 > now ? now : $0 } ?? now
        firstFailure = first
        guard failuresInRow >= Self.silentFailures, now - first >= Self.silentTime else { return nil }
        return suspend(.silent(text), retry: Self.firstRetry, now)
    }

    private mutating func suspend(_ problem: Problem, retry: Duration, _ now: UnixTime) -> Change {
        self.problem = problem
        since = now
        self.retry = Self.firstRetry
        nextProbe = now + retry
        suspensions &+= 1
        share = Share()  // what is learned of a sick list is worth nothing
        return .suspended(problem, retry: retry)
    }

    // MARK: Proving

    /// Whether the list is to be proved now; if so, it is taken as being proved.
    mutating func begin(now: UnixTime) -> Bool {
        if let next = nextProbe {
            // A clock that was set back must not make a list wait for longer than it does.
            guard next <= now || next - now > max(Self.probeInterval, Self.longestRetry) else { return false }
        }
        lastProbe = now
        nextProbe = now + (isUsable ? Self.probeInterval : problem == .unproved ? Self.unprovedRetry : retry)
        return true
    }

    /// - Parameter proof: what is wrong; nil where the test entries are right.
    /// - Parameter isAlone: other lists have answered at the same time, so that silence is this list's own.
    mutating func proved(_ proof: Proof, isAlone: Bool, now: UnixTime) -> Change? {
        switch proof {
        case .good(let lacksTestEntry, let listsIPv6):
            self.lacksTestEntry = lacksTestEntry
            self.listsIPv6 = listsIPv6
            let was = problem
            let began = since ?? now
            failuresInRow = 0
            firstFailure = nil
            retry = Self.firstRetry
            nextProbe = now + Self.probeInterval
            guard let was else { return nil }
            problem = nil
            since = now
            return was == .unproved ? nil : .returned(after: max(now - began, .zero))
        case .silent(let text):
            if isUsable {
                nextProbe = now + Self.firstRetry
                return fail(text, now)
            }
            if problem == .unproved {
                failuresInRow = min(failuresInRow + 1, Self.silentFailures)
                guard failuresInRow >= 2 else { return nil }
                return suspend(.silent(text), retry: Self.firstRetry, now)
            }
            postpone(isAlone: isAlone, now)
            return nil
        case .bad(let found):
            if isUsable || problem == .unproved { return suspend(found, retry: Self.firstRetry, now) }
            if case .jump = problem { problem = found }  // it was suspected, now it is known
            postpone(isAlone: true, now)
            return nil
        }
    }

    enum Proof {
        case good(lacksTestEntry: Bool, listsIPv6: Bool?)
        case bad(Problem)
        case silent(String)
    }

    private mutating func postpone(isAlone: Bool, _ now: UnixTime) {
        nextProbe = now + retry
        // Where nobody answers it is our own DNS that is down: back soon after it.
        retry = isAlone ? min(retry * 2, Self.longestRetry) : Self.firstRetry
    }
}

/// How many of the last clients were listed, and of those before them.
private struct Share {
    private var recent: [(subject: Int, isListed: Bool)] = []
    private var listedRecently = 0
    /// The last ones.
    private(set) var listedInRow = 0
    private var next = 0
    private var before: (all: UInt64, listed: UInt64) = (0, 0)

    /// - Returns: percents, where the share has jumped.
    mutating func take(_ subject: Int, _ isListed: Bool) -> (now: Int, before: Int)? {
        guard !recent.contains(where: { $0.subject == subject }) else { return nil }
        if recent.count < DNSBLListState.window {
            recent.append((subject, isListed))
        } else {
            let oldest = recent[next]
            before.all += 1
            if oldest.isListed {
                before.listed += 1
                listedRecently -= 1
            }
            if before.all >= DNSBLListState.maxBefore { before = (before.all / 2, before.listed / 2) }
            recent[next] = (subject, isListed)
            next = (next + 1) % DNSBLListState.window
        }
        if isListed { listedRecently += 1 }
        listedInRow = isListed ? min(listedInRow + 1, DNSBLListState.window) : 0
        guard recent.count == DNSBLListState.window, listedRecently >= DNSBLListState.jumpListed,
            before.all >= DNSBLListState.minBefore
        else { return nil }
        let percent = before.listed * 100 / before.all
        guard percent <= DNSBLListState.maxPercentBefore else { return nil }
        return (listedRecently * 100 / DNSBLListState.window, Int(percent))
    }
}

extension DNSBLListState.Problem: CustomStringConvertible {
    /// For logs and the CLI: what was expected and what came.
    var description: String {
        switch self {
        case .unproved: "not proved yet"
        case .refused(let address): "it refuses to answer this host's resolver (\(address))"
        case .foreign(let address): "it answers \(address), which no DNS list does: is its domain parked?"
        case .lacks(let entry): "\(entry) is not listed, as RFC 5782 wants it of every list that works"
        case .lists(let entry): "\(entry) is listed, which must never be: does it list the whole world?"
        case .silent(let text): "no answer: \(text.printable)"
        case .jump(let now, let before): "suddenly \(now)% of all clients are listed, \(before)% before"
        }
    }
}
