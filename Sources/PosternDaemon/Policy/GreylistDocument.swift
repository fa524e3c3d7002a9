// What greylisting remembers, as the control socket tells it.

public import PosternAdmission
public import PosternMail

extension GreylistPage.Row {
    /// `{"kind","origin","sender","recipient","state","first_seen","last_seen","passed_since","expires",
    /// "passed_triplets","networks"}`; times as in logs, null where there is none.
    ///
    /// - Parameter now: what is over by then is `expired`.
    public func document(_ times: GreylistTimes, now: UnixTime) -> ControlDocument {
        var (kind, sender, recipient) = ("", ControlDocument.null, ControlDocument.null)
        switch key {
        case .origin(.client): kind = "client"
        case .origin(.domain): kind = "domain"
        case .normalTriplet(_, let from, let to):
            (kind, sender, recipient) = ("triplet", Self.text(from), Self.text(to))
        }
        let end = entry.expires(under: key, times)
        return [
            "kind": .text(kind), "origin": .text("\(key.origin)"), "sender": sender, "recipient": recipient,
            "state": .text(state(end, now)), "first_seen": .time(entry.firstSeen),
            "last_seen": .time(entry.lastSeen), "passed_since": entry.passedSince.map { .time($0) } ?? .null,
            "expires": end.map { .time($0) } ?? .null, "passed_triplets": .number(entry.passedTriplets),
            "networks": .list(entry.networks.map { .text("\($0)") }),
        ]
    }

    private func state(_ end: UnixTime?, _ now: UnixTime) -> String {
        if entry.isAllowed { return "allowed" }
        if let end, end < now { return "expired" }
        if entry.isKnown { return "known" }
        return entry.isWaiting(under: key) ? "waiting" : "learning"
    }

    private static func text(_ octets: [UInt8]) -> ControlDocument { .text(String(decoding: octets, as: UTF8.self)) }
}

extension GreylistCounts {
    public var document: ControlDocument {
        [
            "waiting": .number(waiting), "passed": .number(passed), "clients": .number(clients),
            "domains": .number(domains),
        ]
    }
}
