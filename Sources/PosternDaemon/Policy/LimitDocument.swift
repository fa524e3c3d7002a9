// What limits have counted and what they conclude, as the control socket tells it.

public import PosternAdmission
import PosternMail

extension LimitEntry {
    /// `{"limit","count","key","uses":[{"used","allowed","seconds"}],"reserved","over","blocked_seconds",
    /// "blocked_by_admin","clients"}`; seconds of a block that are left, rounded up.
    public var document: ControlDocument {
        [
            "limit": .text(limit), "count": .text(count.rawValue), "key": .text("\(key)"),
            "uses": .list(uses.map(\.document)), "reserved": .number(reserved), "over": .boolean(isOver),
            "blocked_seconds": .seconds(blockedFor), "blocked_by_admin": .boolean(isBlockedByAdmin),
            "clients": .list(clients.map { .text("\($0)") }),
        ]
    }
}

extension LimitVerdict {
    /// As that of postern-policy's verdict: `{"action","text","score","checks":[…]}`.
    public var document: ControlDocument {
        ["action": .text(word), "text": .text(text), "score": .number(0), "checks": .list(findings.map(\.document))]
    }
}

extension LimitFinding {
    /// As postern-policy's checks, and then `"key","uses","reserved","free_seconds"`: null for a limit that does not
    /// apply; `free_seconds`, rounded up, is null too for what is never let in.
    public var document: ControlDocument {
        [
            "check": .text("limit \(limit)"), "outcome": .text(outcome.rawValue),
            "reason": .text(answer.map { "\($0.word) \($0.summary): \(reason)" } ?? reason), "score": .number(0),
            "answer": answer.map { .text("\($0.word): \($0.summary)") } ?? .null, "shadow": .boolean(isShadow),
            "exchanges": .list([]), "key": key.map { .text("\($0)") } ?? .null,
            "uses": standing.map { .list($0.uses.map(\.document)) } ?? .null,
            "reserved": standing.map { .number($0.reserved) } ?? .null,
            "free_seconds": freeIn.map { .seconds($0) } ?? .null,
        ]
    }
}

extension LimitUse {
    /// `{"used","allowed","seconds"}`.
    public var document: ControlDocument {
        [
            "used": .number(used), "allowed": .number(allowed),
            "seconds": .number(Int(clamping: span.components.seconds)),
        ]
    }
}
