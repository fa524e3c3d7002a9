// The health of DNS lists, as the control socket tells it.

public import PosternAdmission
internal import PosternMail

extension DNSBLListStatus {
    /// `{"zone","by","state","reason","since","last_probe","next_probe","lists_ipv6","answers","listings","failures",
    /// "suspensions"}`; times as in logs, null where there is none.
    public var document: ControlDocument {
        [
            "zone": .text(zone), "by": .text(by.rawValue), "state": .text(state.rawValue),
            "reason": reason.map { .text($0) } ?? .null, "since": Self.time(since), "last_probe": Self.time(lastProbe),
            "next_probe": Self.time(nextProbe), "lists_ipv6": listsIPv6.map { .boolean($0) } ?? .null,
            "answers": .number(answers), "listings": .number(listings), "failures": .number(failures),
            "suspensions": .number(suspensions),
        ]
    }

    private static func time(_ time: UnixTime?) -> ControlDocument {
        time.map { .text(LogRendering.timestamp($0)) } ?? .null
    }
}
