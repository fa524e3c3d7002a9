// What an admin wants to hear of at once, as followers of `postern events` are told. The daemon runs nothing for it: who
// wants mail or a firewall rule follows, and does it.

import PosternAdmission
import PosternDaemon
import PosternMail

struct RateEvent: Sendable {
    enum Kind: String, Sendable {
        /// `warn_at` is reached; a request went over. Each once in a span of time.
        case nearing, over
        /// By the admin. That a block has ended by itself is told to nobody.
        case blocked, unblocked, cleared
    }

    let kind: Kind
    /// The key's, as far as the event is about them: the span that is over, or all.
    let uses: [LimitUse]
    private let limit: String
    private let count: LimitCount
    private let key: LimitKey
    private let reserved: Int
    private let blockedFor: Duration
    /// Requests over the limit are refused; nil where there was no request.
    private let refuses: Bool?
    /// The login of the request; empty for none.
    private let account: [UInt8]
    private let clients: [IPAddress]

    init(_ event: LimitEvent) {
        switch event.kind {
        case .nearing: kind = .nearing
        case .over: kind = .over
        }
        (limit, count, key, uses) = (event.limit, event.count, event.key, [event.use])
        (reserved, blockedFor, clients) = (event.reserved, event.blockedFor, event.clients)
        (refuses, account) = (event.isBinding, event.account)
    }

    /// What the admin has done to a key.
    /// - Parameter entry: how it stands since.
    init(_ kind: Kind, _ entry: LimitEntry) {
        self.kind = kind
        (limit, count, key, uses) = (entry.limit, entry.count, entry.key, entry.uses)
        (reserved, blockedFor, clients) = (entry.reserved, entry.blockedFor, entry.clients)
        (refuses, account) = (nil, [])
    }

    /// `{"event","time","run","number","limit","count","key","uses":[{"used","allowed","seconds"}],"reserved",
    /// "blocked_seconds","refuses","account","clients"}`.
    func document(_ number: Int64, of run: String, at time: UnixTime) -> ControlDocument {
        [
            "event": .text(kind.rawValue), "time": .time(time), "run": .text(run),
            "number": .number(number), "limit": .text(limit), "count": .text(count.rawValue), "key": .text("\(key)"),
            "uses": .list(uses.map(\.document)), "reserved": .number(reserved), "blocked_seconds": .seconds(blockedFor),
            "refuses": refuses.map { .boolean($0) } ?? .null,
            "account": account.isEmpty ? .null : .text(String(decoding: account, as: UTF8.self)),
            "clients": .list(clients.map { .text("\($0)") }),
        ]
    }
}
