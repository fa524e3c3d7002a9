// Which questions may be asked upstream now, and which stand in line: no client and no zone holds more than half of the
// places, so that a list that went silent or a client gone wild leaves the rest to others; and the last eighth of all
// places, and of each half, is kept for the names that decide on the authenticity of mail, so that a flood of lists'
// questions at RCPT cannot starve them; half of that for DMARC policies, so that a flood of signatures and SPF records
// whose names nobody answers for cannot starve these. Counts and queues alone: the forwarder does the asking.

import NIOCore
import PosternMail

/// Who a question is counted with.
enum Account: Hashable {
    /// A process behind a UNIX socket.
    case process(Int32)
    /// A connection whose process is not known.
    case connection(ObjectIdentifier)
    /// Whoever asks by UDP.
    case datagrams
    /// The names of a zone.
    case zone(DomainName)
}

/// What stands in line.
class Applicant {
    /// Its client, if somebody waits for it, and its zone.
    let accounts: [Account]
    let precedence: Precedence
    fileprivate(set) var standing = Standing.new

    enum Standing { case new, waiting, active, gone }

    init(accounts: [Account], precedence: Precedence) {
        self.accounts = accounts
        self.precedence = precedence
    }
}

/// Who is served first, and from whose reserve; the last goes before the others.
enum Precedence: Int, CaseIterable {
    case other
    /// Keys and SPF records.
    case authentication
    /// DMARC policies: few questions, and without an answer a spoof gets by.
    case policy
}

struct Limits {
    /// Most questions asked upstream at once, each on a socket of its own; the others stand in line.
    var active = 512
    /// Most different questions in flight or in line; more are answered SERVFAIL at once.
    var total = 8192

    /// The share that is kept for mail authentication: one in so many; and that for policies alone.
    static let reserve = 8
    static let policyReserve = 16

    /// How many of `places` somebody may find taken and still come in.
    static func usable(_ places: Int, _ precedence: Precedence) -> Int {
        switch precedence {
        case .other: places - places / reserve
        case .authentication: places - places / policyReserve
        case .policy: places
        }
    }
}

struct Admission<Member: Applicant> {
    let limits: Limits
    private var total = 0
    private var active = 0
    /// Those that wait for a place among all.
    private var lines = Lines()
    private var loads: [Account: Load] = [:]

    /// What one account holds, and who waits until it holds less.
    private struct Load {
        var total = 0
        var active = 0
        var lines = Lines()
    }

    /// One line for each precedence.
    private struct Lines {
        private var members = Precedence.allCases.map { _ in CircularBuffer<Member>() }

        subscript(_ precedence: Precedence) -> CircularBuffer<Member> {
            get { members[precedence.rawValue] }
            _modify { yield &members[precedence.rawValue] }
        }
    }

    init(_ limits: Limits = Limits()) { self.limits = limits }

    /// Takes in a question.
    /// - Returns: whether it may be asked now; false: it stands in line, and `leave` will name it. `nil`: there is no
    /// room even there.
    mutating func enter(_ member: Member) -> Bool? {
        guard total < Limits.usable(limits.total, member.precedence) else { return nil }
        for account in member.accounts where loads[account, default: Load()].total >= limits.total / 2 { return nil }
        total += 1
        for account in member.accounts { loads[account, default: Load()].total += 1 }
        member.standing = .waiting
        return place(member)
    }

    /// Whether it could be asked at once.
    func hasPlace(_ member: Member) -> Bool {
        active < Limits.usable(limits.active, member.precedence) && fullAccount(of: member) == nil
    }

    /// A question's end, asked or not.
    /// - Returns: those that may be asked now.
    mutating func leave(_ member: Member) -> [Member] {
        guard member.standing != .gone, member.standing != .new else { return [] }
        let wasActive = member.standing == .active
        member.standing = .gone
        total -= 1
        if wasActive { active -= 1 }
        for account in member.accounts {
            loads[account]?.total -= 1
            if wasActive { loads[account]?.active -= 1 }
            callNext(of: account)
            if loads[account]?.total == 0 { loads[account] = nil }
        }
        var started: [Member] = []
        // Each round takes somebody out of line for good, or moves it to the line of an account that is full.
        while let next = popNext() {
            if next.standing == .waiting, place(next) { started.append(next) }
        }
        return started
    }

    private mutating func popNext() -> Member? {
        for precedence in Precedence.allCases.reversed() where active < Limits.usable(limits.active, precedence) {
            if let next = lines[precedence].popFirst() { return next }
        }
        return nil
    }

    private func fullAccount(of member: Member) -> Account? {
        member.accounts.first { (loads[$0]?.active ?? 0) >= Limits.usable(limits.active / 2, member.precedence) }
    }

    /// Gives a place, or a place in line.
    private mutating func place(_ member: Member) -> Bool {
        if let full = fullAccount(of: member) {
            loads[full, default: Load()].lines[member.precedence].append(member)
            // What it was called for may serve another one.
            for account in member.accounts where account != full { callNext(of: account) }
            return false
        }
        guard active < Limits.usable(limits.active, member.precedence) else {
            lines[member.precedence].append(member)
            return false
        }
        active += 1
        for account in member.accounts { loads[account, default: Load()].active += 1 }
        member.standing = .active
        for account in member.accounts { callNext(of: account) }  // called before it was full of others
        return true
    }

    /// Brings one of each kind from an account's line to the front of the line of all, where the account has room.
    private mutating func callNext(of account: Account) {
        guard var load = loads[account] else { return }
        for precedence in Precedence.allCases where load.active < Limits.usable(limits.active / 2, precedence) {
            if let next = Self.popWaiting(&load.lines[precedence]) { lines[precedence].prepend(next) }
        }
        loads[account] = load
    }

    /// The next of a line that did not leave meanwhile.
    private static func popWaiting(_ line: inout CircularBuffer<Member>) -> Member? {
        while let next = line.popFirst() {
            if next.standing == .waiting { return next }
        }
        return nil
    }
}
