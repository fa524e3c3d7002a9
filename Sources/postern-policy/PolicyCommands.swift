// What postern-policy answers on its control socket beside status and reload:
//
//     explain {attributes of the protocol}              one object, when it is judged; nothing is written
//     dnsbl status                                      one object: {"lists": [...]}
//     greylist list {prefix}                            many objects, one an entry
//     greylist show {origin, sender, recipient}         one object: {"entry": ... or null}
//     greylist allow {origin, sender, recipient}        one object: {"allowed": origin}
//     greylist forget {origin, sender, recipient}       one object, when it is done: {"forgotten": 3}
//     store stats                                       one object: StoreCopy.stats
//     store copy {direction, after}                     many objects, one a page: StoreCopy.page
//
// `origin` is a network, an address (whose network is meant, as greylisting counts it) or a domain; with sender and
// recipient a triplet of it is meant.

import PosternAdmission
import PosternDaemon
import PosternMail
import PosternSocket

struct PolicyCommands: Sendable {
    let service: PolicyService
    let greylist: any GreylistLedger
    let log: any LogSink

    /// Entries of one page: less than a client takes at once.
    private static let pageRows = 200

    func answer(_ command: ControlCommand) throws(ControlRefusal) -> ControlAnswer? {
        switch command.name {
        case PolicyRequest.explainCommand: .documents(explain(try PolicyRequest(command)))
        case "dnsbl status": .document(["lists": .list(service.health.statuses.map(\.document))])
        case "greylist list": .documents(list(try command.textIfAny("prefix") ?? ""))
        case "greylist show": .document(try show(key(command)))
        case "greylist allow": .document(try allow(key(command)))
        case "greylist forget": .documents(forget(try key(command)))
        case "store stats": .document(copying.stats)
        case "store copy": .documents(try copying.copy(command))
        default: nil
        }
    }

    private var copying: GreylistCopying {
        let service = service
        return GreylistCopying(
            greylist: greylist, isUsed: service.greylists, times: service.greylistSettings.times
        ) { service.now() }
    }

    /// DNS may take its time: a thread of its own asks.
    private func explain(_ request: PolicyRequest) -> ControlFeed {
        let service = service
        return LateAnswer.feed(log: log) {
            var facts = InstanceFacts()
            return service.verdict(on: request, facts: &facts, telling: .everything).document
        }
    }

    // MARK: Greylisting

    private func list(_ prefix: String) -> ControlFeed {
        let (greylist, service) = (greylist, service)
        return .pages { cursor in
            do throws(GreylistUnavailable) {
                let page = try greylist.entries(withPrefix: prefix, after: cursor, limit: Self.pageRows)
                let now = service.now()
                return (page.rows.map { $0.document(service.greylistSettings.times, now: now) }, page.next)
            } catch {
                return ([["error": .text("\(error)")]], nil)
            }
        }
    }

    private func show(_ key: GreylistKey) throws(ControlRefusal) -> ControlDocument {
        let (times, now) = (service.greylistSettings.times, service.now())
        return try asking { () throws(GreylistUnavailable) in
            let entry = try greylist.entry(for: key)
            return ["entry": entry.map { GreylistPage.Row(key, $0).document(times, now: now) } ?? .null]
        }
    }

    private func allow(_ key: GreylistKey) throws(ControlRefusal) -> ControlDocument {
        try asking { () throws(GreylistUnavailable) in
            try greylist.allow(key, now: service.now())
            return ["allowed": .text("\(key.origin)")]
        }
    }

    /// All triplets of a client or a domain: a look at every row.
    private func forget(_ key: GreylistKey) -> ControlFeed {
        let greylist = greylist
        return LateAnswer.feed(log: log) {
            do throws(GreylistUnavailable) { return ["forgotten": .number(try greylist.forget(key))] } catch {
                return ["error": .text("\(error)")]
            }
        }
    }

    private func asking(
        _ body: () throws(GreylistUnavailable) -> ControlDocument
    ) throws(ControlRefusal) -> ControlDocument {
        do throws(GreylistUnavailable) { return try body() } catch { throw ControlRefusal("\(error)") }
    }

    private func key(_ command: ControlCommand) throws(ControlRefusal) -> GreylistKey {
        let text = try command.text("origin")
        guard let origin = GreylistOrigin(text, service.greylistSettings) else {
            throw ControlRefusal("origin: expected a network, an address or a domain, found another text")
        }
        switch (try command.textIfAny("sender"), try command.textIfAny("recipient")) {
        case (nil, nil): return .origin(origin)
        case (let sender?, let recipient?): return .triplet(origin, sender.utf8, recipient.utf8)
        default: throw ControlRefusal("expected sender and recipient, or neither; found one of them")
        }
    }
}

extension GreylistOrigin {
    /// - Parameter text: a network, a domain, or an address, which stands for its network as greylisting counts it.
    init?(_ text: String, _ settings: GreylistSettings) {
        guard let address = IPAddress(text)?.unmapped else {
            self.init(text)
            return
        }
        let length = if case .v4 = address { settings.ipv4Prefix } else { settings.ipv6Prefix }
        self = .client(Network(containing: address, prefixLength: length))
    }
}
