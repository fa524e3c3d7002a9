// What postfwd's items are as conditions of a `[[rule]]`. Its text items are expressions that are found anywhere, in any
// case, unless compared by ==. Source: postfwd(8), "ITEMS".

internal import PosternMail

/// A condition of ours: a key and its values.
struct PostfwdCondition {
    let key: String
    let values: [String]

    /// Items of text by postfwd's name, with ours.
    private static let texts = [
        "client_name": "client_name", "reverse_client_name": "reverse_client_name", "helo_name": "helo",
        "sender": "sender",
        "recipient": "recipient", "sender_domain": "sender_domain", "recipient_domain": "recipient_domain",
        "sasl_username": "sasl_username", "sasl_method": "sasl_method", "sasl_sender": "sasl_sender",
        "ccert_subject": "ccert_subject", "ccert_issuer": "ccert_issuer", "ccert_fingerprint": "ccert_fingerprint",
        "encryption_protocol": "encryption_protocol", "encryption_cipher": "encryption_cipher",
        "protocol_name": "protocol_name", "policy_context": "policy_context", "server_port": "server_port",
    ]

    /// - Parameter items: all of one name in a rule, of which one must hold.
    init(_ items: [PostfwdItem]) throws(ImportRefusal) {
        guard let first = items.first else { throw ImportRefusal(reason: "expected an item") }
        var values: [String] = []
        for item in items {
            guard !item.value.hasPrefix("$$"), !item.name.hasPrefix("$$") else {
                throw ImportRefusal(reason: "one attribute cannot be compared with another: \(item.name)")
            }
            guard Self.isNegative(item) == Self.isNegative(first), !Self.isNegative(item) || items.count == 1 else {
                throw ImportRefusal(
                    reason: "of several negations one is enough for postfwd, which no condition says: \(item.name)")
            }
            values += try Self.values(of: item)
        }
        guard let key = Self.key(of: first.name) else {
            throw ImportRefusal(reason: "there is no condition like it: \(first.name)")
        }
        self.key = Self.isNegative(first) ? "not_\(key)" : key
        self.values = values
    }

    private static func isNegative(_ item: PostfwdItem) -> Bool {
        item.isNegated != [.unequal, .unmatched].contains(item.comparison)
    }

    private static func key(of name: String) -> String? {
        switch name {
        case "client_address": "client"
        case "days": "weekday"
        case "time", "size", "encryption_keysize": name
        default: texts[name]
        }
    }

    private static func values(of item: PostfwdItem) throws(ImportRefusal) -> [String] {
        switch item.name {
        case "client_address": try listed(item).map(client)
        case "time": try listed(item).map(time)
        case "days": try listed(item).map(days)
        case "size", "encryption_keysize": [try number(item)]
        default: [try text(item)]
        }
    }

    /// Of items that hold several values; a file's are listed by its name.
    private static func listed(_ item: PostfwdItem) throws(ImportRefusal) -> [String] {
        guard [.usual, .equal, .unequal].contains(item.comparison) else { throw comparison(item) }
        return item.value.split { $0 == "," || $0 == " " && item.name == "client_address" }
            .map { String($0.filter { $0 != " " && $0 != "\t" }) }.filter { !$0.isEmpty }
    }

    private static func client(_ text: String) throws(ImportRefusal) -> String {
        if text.hasPrefix("file:/") { return text }
        guard let network = ImportedClients([ImportedLine(file: "", number: 0, text: text)]).networks.first else {
            throw ImportRefusal(reason: "expected an address, a network or file:/NAME, found \(text)")
        }
        return network
    }

    private static func text(_ item: PostfwdItem) throws(ImportRefusal) -> String {
        guard !["file:", "lfile:", "table:", "ltable:"].contains(where: item.value.hasPrefix) else {
            if item.value.hasPrefix("file:/"), [.equal, .unequal].contains(item.comparison) { return item.value }
            throw ImportRefusal(reason: "expected values, or == file:/NAME: \(item.name)")
        }
        switch item.comparison {
        case .equal, .unequal: return item.value
        case .usual, .matches, .unmatched:
            var text = item.value[...]
            if item.comparison == .usual {  // it may stand between slashes
                if text.hasPrefix("/") { text = text.dropFirst() }
                if text.hasSuffix("/"), !text.hasSuffix("\\/") { text = text.dropLast() }
            }
            return "/\(slashesEscaped(text))/"
        default: throw comparison(item)
        }
    }

    private static func slashesEscaped(_ text: Substring) -> String {
        var (written, isEscaped) = ("", false)
        for sign in text {
            if sign == "/", !isEscaped { written += "\\" }
            written.append(sign)
            isEscaped = !isEscaped && sign == "\\"
        }
        return written
    }

    private static func number(_ item: PostfwdItem) throws(ImportRefusal) -> String {
        guard let value = Int(item.value), value >= 0 else {
            throw ImportRefusal(reason: "expected a number: \(item.name)")
        }
        switch item.comparison {
        case .equal, .unequal: return "\(value)..\(value)"
        case .usual, .atLeast: return "\(value).."
        case .atMost: return "..\(value)"
        case .above where value < Int.max: return "\(value + 1).."
        case .below where value > 0: return "..\(value - 1)"
        default: throw comparison(item)
        }
    }

    /// `08:30:00-17:00:00`; here to the minute.
    private static func time(_ text: String) throws(ImportRefusal) -> String {
        let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { end in
            end.split(separator: ":").prefix(2).joined(separator: ":")
        }
        guard ends.count == 2, let from = ends.first, let to = ends.last else {
            throw ImportRefusal(reason: "expected a time such as 08:30:00-17:00:00")
        }
        return "\(from.isEmpty ? "00:00" : from)..\(to.isEmpty ? "24:00" : to)"
    }

    private static let weekdays = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    private static func days(_ text: String) throws(ImportRefusal) -> String {
        var ends: [String] = []
        for end in text.split(separator: "-") {
            if let number = Int(end), weekdays.indices.contains(number) {
                ends.append(weekdays[number])
            } else {
                ends.append(end.lowercased())
            }
        }
        return ends.joined(separator: "..")
    }

    private static func comparison(_ item: PostfwdItem) -> ImportRefusal {
        ImportRefusal(reason: "there is no condition that compares so: \(item.name) \(item.comparison.rawValue)")
    }
}
