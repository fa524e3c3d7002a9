// What postern-rate answers on its control socket beside status and reload:
//
//     limit list {over}                      many objects, one a key of a limit
//     limit show {key}                       one object: {"entries": [...]}
//     limit clear {key, limit}               one object: {"cleared": 1}
//     limit block {key, limit, seconds}      one object: {"blocked": 1}
//     limit unblock {key, limit}             one object: {"unblocked": 1}
//
// `key` is what list shows: the values of `per`, joined by commas. Without `limit`, all that have the key are meant.

import PosternAdmission
import PosternDaemon
import PosternMail

struct RateCommands: Sendable {
    let service: RateService

    /// Entries of one page: less than a client takes at once.
    private static let pageEntries = 200

    func answer(_ command: ControlCommand) throws(ControlRefusal) -> ControlAnswer? {
        switch command.name {
        case "limit list": .documents(list(onlyOver: try command.flag("over")))
        case "limit show": .document(try show(key(command)))
        case "limit clear":
            .document(
                try change("cleared", command) { ledger, key, limit, now throws(LimitUnavailable) in
                    try ledger.clear(key, limit: limit, now: now)
                })
        case "limit block": .document(try block(command))
        case "limit unblock":
            .document(
                try change("unblocked", command) { ledger, key, limit, now throws(LimitUnavailable) in
                    try ledger.unblock(key, limit: limit, now: now)
                })
        default: nil
        }
    }

    private func list(onlyOver: Bool) -> ControlFeed {
        let service = service
        return .pages { (cursor: String?) in
            do throws(LimitUnavailable) {
                let page = try service.ledger.entries(
                    onlyOver: onlyOver, after: cursor, limit: Self.pageEntries, now: service.now())
                return (page.entries.map(\.document), page.next)
            } catch {
                return ([["error": .text("\(error)")]], nil)
            }
        }
    }

    private func show(_ key: LimitKey) throws(ControlRefusal) -> ControlDocument {
        do throws(LimitUnavailable) {
            let entries = try service.ledger.entries(for: key, now: service.now())
            return ["entries": .list(entries.map(\.document))]
        } catch {
            throw ControlRefusal("\(error)")
        }
    }

    private func block(_ command: ControlCommand) throws(ControlRefusal) -> ControlDocument {
        let most = LimitMemory.maxBlock.components.seconds
        let seconds = try command.number("seconds", in: 1...most, default: 3600)
        return try change("blocked", command) { ledger, key, limit, now throws(LimitUnavailable) in
            try ledger.block(key, limit: limit, for: .seconds(seconds), now: now)
        }
    }

    private typealias Change = (any LimitLedger, LimitKey, String?, UnixTime) throws(LimitUnavailable) -> Int

    /// - Returns: under `word`, in how many limits it was done.
    private func change(
        _ word: String, _ command: ControlCommand, _ body: Change
    ) throws(ControlRefusal) -> ControlDocument {
        let key = try key(command)
        let limit = try command.textIfAny("limit")
        if let limit, !service.names.contains(limit) {
            throw ControlRefusal("limit: expected the name of a limit that is in force, found another text")
        }
        do throws(LimitUnavailable) {
            return [word: .number(try body(service.ledger, key, limit, service.now()))]
        } catch {
            throw ControlRefusal("\(error)")
        }
    }

    private func key(_ command: ControlCommand) throws(ControlRefusal) -> LimitKey {
        let text = try command.text("key")
        guard !text.isEmpty, text.utf8.count <= LimitKey.maxOctets else {
            throw ControlRefusal("key: expected 1 to \(LimitKey.maxOctets) octets, found \(text.utf8.count)")
        }
        return LimitKey(text: text)
    }
}
