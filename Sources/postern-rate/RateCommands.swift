// What postern-rate answers on its control socket beside status and reload:
//
//     limit list {over}                      many objects, one a key of a limit
//     limit show {key}                       one object: {"entries": [...]}
//     limit clear {key, limit}               one object: {"cleared": 1}
//     limit block {key, limit, seconds}      one object: {"blocked": 1}
//     limit unblock {key, limit}             one object: {"unblocked": 1}
//     explain {attributes}                   one object: LimitVerdict.document, for what Postfix would send
//     events {follow, seconds, run, after}   many objects: EventLog.feed
//     store stats                            one object: StoreCopy.stats
//     store copy {direction, after}          many objects, one a page: StoreCopy.page
//
// `key` is what list shows: the values of `per`, joined by commas. Without `limit`, all that have the key are meant.
// Events are those of the last `seconds`, or those behind number `after` of a `run`; with `follow` also those to come.

import PosternAdmission
import PosternDaemon
import PosternMail

struct RateCommands: Sendable {
    let service: RateService

    /// Entries of one page: less than a client takes at once.
    private static let pageEntries = 200

    func answer(_ command: ControlCommand) throws(ControlRefusal) -> ControlAnswer? {
        switch command.name {
        case PolicyRequest.explainCommand: .document(explanation(of: try PolicyRequest(command)))
        case "events": .documents(try events(command))
        case "limit list": .documents(list(onlyOver: try command.flag("over")))
        case "limit show": .document(try show(key(command)))
        case "limit clear":
            .document(
                try change(.cleared, command) { ledger, key, limit, now throws(LimitUnavailable) in
                    try ledger.clear(key, limit: limit, now: now)
                })
        case "limit block": .document(try block(command))
        case "limit unblock":
            .document(
                try change(.unblocked, command) { ledger, key, limit, now throws(LimitUnavailable) in
                    try ledger.unblock(key, limit: limit, now: now)
                })
        case "store stats": .document(copying.stats)
        case "store copy": .documents(try copying.copy(command))
        default: nil
        }
    }

    private var copying: LimitCounting {
        let service = service
        return LimitCounting(ledger: service.ledger, isUsed: !service.names.isEmpty) { service.now() }
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
        return try change(.blocked, command) { ledger, key, limit, now throws(LimitUnavailable) in
            try ledger.block(key, limit: limit, for: .seconds(seconds), now: now)
        }
    }

    private typealias Change = (any LimitLedger, LimitKey, String?, UnixTime) throws(LimitUnavailable) -> Int

    /// Carries out what changes a key, and tells the log and those who follow.
    /// - Returns: under what was done, in how many limits.
    private func change(
        _ kind: RateEvent.Kind, _ command: ControlCommand, _ body: Change
    ) throws(ControlRefusal) -> ControlDocument {
        let key = try key(command)
        let limit = try command.textIfAny("limit")
        if let limit, !service.names.contains(limit) {
            throw ControlRefusal("limit: expected the name of a limit that is in force, found another text")
        }
        do throws(LimitUnavailable) {
            let now = service.now()
            let count = try body(service.ledger, key, limit, now)
            if count > 0 { tell(kind, try service.ledger.entries(for: key, now: now), limit, now) }
            return [kind.rawValue: .number(count)]
        } catch {
            throw ControlRefusal("\(error)")
        }
    }

    private func tell(_ kind: RateEvent.Kind, _ entries: [LimitEntry], _ limit: String?, _ now: UnixTime) {
        for entry in entries where limit == nil || entry.limit == limit {
            service.log.info("limit \(LogText.escaped(entry.limit.utf8)) \(kind.rawValue) by the admin: \(entry.key)")
            service.events.add(RateEvent(kind, entry), at: now)
        }
    }

    // MARK: Events

    private func events(_ command: ControlCommand) throws(ControlRefusal) -> ControlFeed {
        let follows = try command.flag("follow")
        var place = follows ? EventLog.Place.newest : .oldest
        if let run = try command.textIfAny("run") {
            place = .after(try command.number("after", in: 0...Int64.max, default: 0), run: run)
        } else if command["seconds"] != nil {
            let seconds = try command.number("seconds", in: 1...Self.maxAge, default: Self.maxAge)
            place = .since(service.now() + .seconds(-seconds))
        }
        let counters = service.counters
        return service.events.feed(place, follows: follows) { counters.count(.followerDropped) }
    }

    /// Ten years.
    private static let maxAge: Int64 = 3650 * 86_400

    // MARK: Explain

    private func explanation(of request: PolicyRequest) -> ControlDocument {
        service.judge.explanation(of: request, ledger: service.ledger, now: service.now()).document
    }

    private func key(_ command: ControlCommand) throws(ControlRefusal) -> LimitKey {
        let text = try command.text("key")
        guard !text.isEmpty, text.utf8.count <= LimitKey.maxOctets else {
            throw ControlRefusal("key: expected 1 to \(LimitKey.maxOctets) octets, found \(text.utf8.count)")
        }
        return LimitKey(text: text)
    }
}
