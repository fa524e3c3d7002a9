// postfwd's rules as `[[rule]]`, `[[limit]]` and `[[dnsbl.list]]`, in their order: the common part. Jumps, variables and
// programs that rules start have no counterpart. Source: postfwd(8), "ACTIONS".

internal import PosternMail

struct PostfwdRules {
    private var tables = ImportedTables()
    private var names: Set<String> = []
    /// Where the search for a free name goes on, by rule.
    private var nextNumbers: [String: Int] = [:]
    private var listedZones: Set<String> = []

    static func settings(of octets: [UInt8], file: String) -> ImportedSettings {
        let ruleset = PostfwdRuleset(octets, file: file)
        var reader = PostfwdRules()
        for remark in ruleset.leftOut { reader.tables.leave(remark.line, remark.text) }
        for rule in ruleset.rules {
            let told = reader.tables.warnings.count
            do throws(ImportRefusal) { try reader.carry(rule) } catch {
                reader.tables.takeBackWarnings(after: told)
                reader.tables.leave(rule.line, error.reason)
            }
        }
        return reader.tables.settings(head: [
            "Of postfwd's rules. All rules are tried before DNS lists and limits here, wherever postfwd had those."
        ])
    }

    private mutating func carry(_ rule: PostfwdRule) throws(ImportRefusal) {
        // The stage at which it is asked: postern-policy is asked at RCPT.
        let items = rule.items.filter { $0.name != "protocol_state" }
        let stages = rule.items.filter { $0.name == "protocol_state" }.map { $0.value.uppercased() }
        if let (command, argument) = Self.call(rule.action) {
            try carry(command, argument, rule, items, stages)
            return
        }
        guard stages.allSatisfy({ $0 == "RCPT" }) else {
            throw ImportRefusal(reason: "rules are tried at RCPT, not at \(stages.joined(separator: ", "))")
        }
        let action = try action(rule)
        if items.contains(where: { $0.name == "rbl" }) {
            try carryLists(items, action, rule.line)
            return
        }
        let conditions = try conditions(items)
        tables.append(
            "rule",
            [("name", ImportedSettings.quoted(name(rule.id)))]
                + conditions.map { ($0.key, ImportedTables.list($0.values)) }
                + [("action", ImportedSettings.quoted(action))], from: rule.line)
    }

    private mutating func name(_ id: String) -> String {
        var (name, number) = (id, nextNumbers[id] ?? 2)
        while !names.insert(name).inserted {
            name = "\(id) \(number)"
            number += 1
        }
        nextNumbers[id] = number
        return name
    }

    private func conditions(_ items: [PostfwdItem]) throws(ImportRefusal) -> [PostfwdCondition] {
        var order: [String] = []
        for item in items where !order.contains(item.name) { order.append(item.name) }
        var conditions: [PostfwdCondition] = []
        for name in order { conditions.append(try PostfwdCondition(items.filter { $0.name == name })) }
        return conditions
    }

    // MARK: Actions

    /// An action of Postfix's. Source: access(5).
    private mutating func action(_ rule: PostfwdRule) throws(ImportRefusal) -> String {
        let parts = rule.action.split(separator: " ", maxSplits: 1)
        let (word, rest) = ((parts.first ?? "").lowercased(), parts.dropFirst().first.map(String.init) ?? "")
        if rest.contains("$$") || word.contains("$$") {
            tables.warn(rule.line, "replies hold no attributes: [name] stands in their place")
        }
        let text = Self.withoutAttributes(rest)
        switch word {
        case "dunno": return "accept"
        case "ok", "permit":
            tables.warn(rule.line, "accept ends our checks; what Postfix checks after them, it still does")
            return "accept"
        case "reject": return "reject \(text.isEmpty ? "5.7.1 Access denied" : text)"
        case "defer", "defer_if_permit": return "defer \(text.isEmpty ? "4.7.1 Try again later" : text)"
        case "hold", "prepend", "filter", "redirect", "bcc": return "\(word) \(text)"
        default: break
        }
        if word.utf8.count == 3, word.utf8.allSatisfy(\.isASCIIDigit) {
            if word == "421" { return "defer \(text)" }  // it would hang up on the client; Postfix takes no such action
            if word.hasPrefix("5") { return "reject \(word) \(text)" }
            if word.hasPrefix("4") { return "defer \(word) \(text)" }
        }
        throw ImportRefusal(reason: "there is no action like it: \(parts.first ?? "")")
    }

    private static func withoutAttributes(_ text: String) -> String {
        text.replacing(/\$\$\(?(\w+)\)?/) { "[\($0.1)]" }
    }

    /// `command(argument)`; nil for an action of Postfix's.
    private static func call(_ action: String) -> (command: String, argument: String)? {
        guard action.hasSuffix(")"), let open = action.firstIndex(of: "(") else { return nil }
        let command = action[..<open].filter { $0 != " " && $0 != "\t" }
        guard command.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "-" || $0 == "_" }), !command.isEmpty else {
            return nil
        }
        return (command.lowercased(), String(action[action.index(after: open)...].dropLast()))
    }

    private mutating func carry(
        _ command: String, _ argument: String, _ rule: PostfwdRule, _ items: [PostfwdItem], _ stages: [String]
    ) throws(ImportRefusal) {
        switch command {
        case "score":
            guard let score = Int(argument.hasPrefix("+") ? String(argument.dropFirst()) : argument) else {
                throw ImportRefusal(reason: "expected a whole number that is added, found score(\(argument))")
            }
            tables.append(
                "rule",
                [("name", ImportedSettings.quoted(name(rule.id)))]
                    + (try conditions(items)).map { ($0.key, ImportedTables.list($0.values)) }
                    + [("action", ImportedSettings.quoted("score \(score)"))], from: rule.line)
        case "ask":
            throw ImportRefusal(
                reason: "no other policy service is asked; say action = \"greylist\" where it is postgrey")
        case "rate", "size", "rcpt", "rate5321", "size5321", "rcpt5321":
            try carryLimit(String(command.prefix(4)), argument, rule, items, stages)
        case "jump":
            throw ImportRefusal(
                reason: "no rule jumps: the rules up to \(argument) are tried for its mail too; give them conditions")
        default: throw ImportRefusal(reason: "there is no action like it: \(command)")
        }
    }

    // MARK: Limits

    /// postfwd's items that may be counted by, with ours.
    private static let subjects = [
        "client_address": "client", "client_name": "client_name", "sasl_username": "sasl_username", "sender": "sender",
        "sender_domain": "sender_domain", "recipient": "recipient", "recipient_domain": "recipient_domain",
        "helo_name": "helo", "policy_context": "policy_context",
    ]

    private mutating func carryLimit(
        _ command: String, _ argument: String, _ rule: PostfwdRule, _ items: [PostfwdItem], _ stages: [String]
    ) throws(ImportRefusal) {
        let parts = argument.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 4, let most = Int(parts[1]), let seconds = Int(parts[2]) else {
            throw ImportRefusal(reason: "expected \(command)(ITEM/MOST/SECONDS/ACTION)")
        }
        let item = parts[0].hasPrefix("$$") ? String(parts[0].dropFirst(2)) : parts[0]
        guard let subject = Self.subjects[item] else {
            throw ImportRefusal(reason: "nothing is counted for each \(item)")
        }
        // A request is a recipient at RCPT and a message after it.
        let isMessage = stages.contains("DATA") || stages.contains("END-OF-MESSAGE")
        let count = ["size": "octets", "rcpt": "recipients"][command] ?? (isMessage ? "messages" : "recipients")
        let reply = try action(
            PostfwdRule(id: rule.id, action: parts[3], items: [], line: rule.line))
        var assignments = [
            ("name", ImportedSettings.quoted(name(rule.id))), ("per", ImportedTables.list([subject])),
            ("count", ImportedSettings.quoted(count)), ("allow", ImportedTables.list(["\(most)/\(seconds)s"])),
            ("action", ImportedSettings.quoted(reply)),
        ]
        for condition in try conditions(items) {
            switch condition.key {
            case "client": assignments.append(("clients", ImportedTables.list(condition.values)))
            case "sasl_username": assignments.append(("users", ImportedTables.list(condition.values)))
            case "not_client", "not_sasl_username":
                assignments.append(("except", ImportedTables.list(condition.values)))
            default: throw ImportRefusal(reason: "a limit has no condition \(condition.key)")
            }
        }
        tables.append("limit", assignments, from: rule.line)
    }

    // MARK: Lists

    /// Rules that refuse whom one of several lists names; what else they ask for cannot be kept.
    private mutating func carryLists(
        _ items: [PostfwdItem], _ action: String, _ line: ImportedLine
    ) throws(ImportRefusal) {
        guard items.allSatisfy({ $0.name == "rbl" && [.usual, .equal].contains($0.comparison) && !$0.isNegated }),
            action.hasPrefix("reject")
        else {
            throw ImportRefusal(reason: "lists are added up in [dnsbl]; say a rule with dnsbl_score for more")
        }
        for item in items {
            for zone in item.value.split(separator: ",") {
                let text = zone.filter { $0 != " " && $0 != "\t" }
                guard !text.contains("/"), !text.contains(":") else {
                    throw ImportRefusal(reason: "expected a list without answers of its own, found \(text)")
                }
                guard listedZones.insert(text.lowercased()).inserted else { continue }
                tables.append(
                    "dnsbl.list",
                    [("zone", ImportedSettings.quoted(text)), ("scores", "{ \"127.0.0.[0..255]\" = 4 }")],
                    from: line)
            }
        }
    }
}
