// Postfix's rate limits a client (anvil(8)) as `[[limit]]` tables that count as anvil does. What anvil counts before
// there is a recipient stays anvil's. Source: postconf(5), smtpd_client_*; anvil(8).

internal import PosternMail

enum AnvilLimits {
    /// What of it has a counterpart: the parameter, what is counted, Postfix's own default.
    private static let counted = [
        ("smtpd_client_connection_rate_limit", "connections"), ("smtpd_client_message_rate_limit", "messages"),
        ("smtpd_client_recipient_rate_limit", "recipients"),
    ]

    private static let reasons = [
        "smtpd_client_connection_count_limit": "how many sessions are open at once only Postfix knows: keep it there",
        "smtpd_client_new_tls_session_rate_limit":
            "handshakes are over before a policy service is asked: keep it there",
        "smtpd_client_auth_rate_limit": "logins that fail do not come to a policy service: keep it there",
    ]

    /// - Returns: nil for a file that says nothing of them.
    static func settings(of octets: [UInt8], file: String) -> ImportedSettings? {
        let parameters = MainParameters(octets, file: file).values
        func first(_ name: String) -> ImportedLine? { parameters[name]?.first }
        guard (counted.map(\.0) + reasons.keys).contains(where: { first($0) != nil }) else { return nil }
        var tables = ImportedTables()
        let span = time(first("anvil_rate_time_unit")?.text ?? "60s")
        let exceptions = exceptions(parameters, &tables)
        for (name, count) in counted {
            guard let word = first(name), word.text != "0" else { continue }  // postconf(5): no limit
            let line = ImportedLine(file: file, number: word.number, text: "\(name) = \(word.text)")
            guard let span else {
                tables.leave(line, "expected a time such as 60s in anvil_rate_time_unit")
                continue
            }
            tables.append(
                "limit",
                [
                    ("name", ImportedSettings.quoted("client \(count)")), ("per", "[\"client\"]"),
                    ("count", ImportedSettings.quoted(count)),
                    ("allow", ImportedTables.list(["\(word.text)/\(span)"])),
                    ("action", "\"defer 4.7.0 Too many \(count), try again later\""),
                    ("ipv6_prefix", prefix(parameters)),
                    ("window", "\"fixed\""),
                ] + (exceptions.isEmpty ? [] : [("except", ImportedTables.list(exceptions))]), from: line)
        }
        for (name, reason) in reasons.sorted(by: { $0.key < $1.key }) {
            // 50 sessions at once is what Postfix allows by itself.
            guard let word = first(name), word.text != "0" else { continue }
            tables.leave(ImportedLine(file: file, number: word.number, text: "\(name) = \(word.text)"), reason)
        }
        return tables.settings(head: [
            "Of Postfix's own limits. Set those in main.cf to 0 once these are in force, or both count."
        ])
    }

    private static func exceptions(
        _ parameters: [String: [ImportedLine]], _ tables: inout ImportedTables
    ) -> [String] {
        let name = "smtpd_client_event_limit_exceptions"
        var words = parameters[name] ?? []
        // postconf(5): $mynetworks, unless it says otherwise.
        if parameters[name] == nil || words.contains(where: { $0.text == "$mynetworks" }) {
            words.removeAll { $0.text == "$mynetworks" }
            words += parameters["mynetworks"] ?? []
        }
        let clients = ImportedClients(words)
        for (line, reason) in clients.others { tables.leave(line, reason) }
        return clients.networks
    }

    /// postconf(5): 84 since Postfix 3.8; networks of 64 bits are what sites are given.
    private static func prefix(_ parameters: [String: [ImportedLine]]) -> String {
        guard let word = parameters["smtpd_client_ipv6_prefix_length"]?.first, let length = Int(word.text) else {
            return "84"
        }
        return String(length)
    }

    /// As our configuration has it; seconds without a unit, as postconf(5) says of this parameter.
    private static func time(_ text: String) -> String? {
        guard let last = text.last else { return nil }
        let unit: Substring = last.isNumber ? "s" : text.suffix(1)
        let number = last.isNumber ? text[...] : text.dropLast()
        guard let value = Int(number), value > 0 else { return nil }
        switch unit {
        case "w": return value <= 1000 ? "\(value * 7)d" : nil
        case "s", "m", "h", "d": return "\(value)\(unit)"
        default: return nil
        }
    }
}
