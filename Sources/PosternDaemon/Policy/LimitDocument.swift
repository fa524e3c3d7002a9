// What limits have counted, as the control socket tells it.

public import PosternAdmission

extension LimitEntry {
    /// `{"limit","count","key","uses":[{"used","allowed","seconds"}],"reserved","over","blocked_seconds",
    /// "blocked_by_admin","clients"}`; seconds of a block that are left, rounded up.
    public var document: ControlDocument {
        let seconds = blockedFor.components.seconds + (blockedFor.components.attoseconds > 0 ? 1 : 0)
        return [
            "limit": .text(limit), "count": .text(count.rawValue), "key": .text("\(key)"),
            "uses": .list(uses.map(\.document)), "reserved": .number(reserved), "over": .boolean(isOver),
            "blocked_seconds": .number(Int(clamping: seconds)), "blocked_by_admin": .boolean(isBlockedByAdmin),
            "clients": .list(clients.map { .text("\($0)") }),
        ]
    }
}

extension LimitUse {
    fileprivate var document: ControlDocument {
        [
            "used": .number(used), "allowed": .number(allowed),
            "seconds": .number(Int(clamping: span.components.seconds)),
        ]
    }
}
