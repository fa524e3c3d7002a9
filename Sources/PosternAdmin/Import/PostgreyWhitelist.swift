// postgrey's whitelist_clients and whitelist_recipients as skip_clients and skip_recipients of `[greylist]`: the same
// clients and recipients are let through, no others. Where postgrey's manual and postgrey differ, what it does counts;
// entries that it takes and that match nobody are left out. Source: postgrey(8), "Whitelists"; postgrey 1.37.

internal import PosternAdmission
internal import PosternDaemon
internal import PosternMail

enum PostgreyWhitelist {
    enum Kind: Sendable {
        case clients
        case recipients
    }

    struct File: Sendable {
        let name: String
        let kind: Kind
        let octets: [UInt8]
    }

    /// An entry and the patterns that do the same.
    private struct Entry {
        let line: ImportedLine
        let values: [String]

        var expressions: Int { values.count { $0.hasPrefix("/") } }
    }

    /// Why an entry has no patterns.
    private struct NotCarried: Error { let reason: String }

    /// How often the result is read: once, and once more without what was refused.
    private static let maxReadings = 3

    /// What stands above a table of whitelists alone.
    private static let usualHead = [
        "# postgrey lets all other clients wait, which is: clients = \"all\"", "[greylist]",
    ]

    /// - Parameter options: postgrey's own, beside the lists; nil for those alone.
    static func settings(of files: [File], _ options: PostgreySettings? = nil) -> ImportedSettings {
        var settings = ImportedSettings(leftOut: options?.leftOut ?? [])
        let head =
            options.map { ["# Of postgrey's settings.", "[greylist]", "clients = \"all\""] + $0.lines } ?? usualHead
        var clients: [Entry] = []
        var recipients: [Entry] = []
        for file in files {
            switch file.kind {
            case .clients: clients += entries(of: file, &settings)
            case .recipients: recipients += entries(of: file, &settings)
            }
        }
        clients = withinBounds(clients, &settings)
        recipients = withinBounds(recipients, &settings)
        for _ in 0..<maxReadings {
            let text = Text(head: head, clients: clients, recipients: recipients)
            let problems = ImportedSettings.check(text.toml).problems
            guard !problems.isEmpty else {
                settings.toml = text.isEmpty && options == nil ? "" : text.toml
                break
            }
            let reasons = Dictionary(problems.map { ($0.line, $0.text) }, uniquingKeysWith: { first, _ in first })
            clients = accepted(clients, from: text.firstClient, reasons, &settings)
            recipients = accepted(recipients, from: text.firstRecipient, reasons, &settings)
        }
        let order = Dictionary(files.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
        settings.leftOut.sort { left, right in
            (order[left.line.file] ?? -1, left.line.number) < (order[right.line.file] ?? -1, right.line.number)
        }
        return settings
    }

    // MARK: What is written

    /// One line for each entry, so that a problem's line tells whose it is.
    private struct Text {
        private(set) var toml = ""
        /// The lines on which the first entries stand.
        let firstClient: Int
        let firstRecipient: Int
        let isEmpty: Bool

        init(head: [String], clients: [Entry], recipients: [Entry]) {
            var lines = head
            func append(_ key: String, _ entries: [Entry]) -> Int {
                guard !entries.isEmpty else { return 0 }
                lines.append("\(key) = [")
                let first = lines.count + 1
                for entry in entries {
                    lines.append("    " + entry.values.map { ImportedSettings.quoted($0) + "," }.joined(separator: " "))
                }
                lines.append("]")
                return first
            }
            firstClient = append("skip_clients", clients)
            firstRecipient = append("skip_recipients", recipients)
            isEmpty = clients.isEmpty && recipients.isEmpty
            toml = lines.joined(separator: "\n") + "\n"
        }
    }

    /// The entries that were not refused.
    private static func accepted(
        _ entries: [Entry], from first: Int, _ reasons: [Int: String], _ settings: inout ImportedSettings
    ) -> [Entry] {
        entries.enumerated().compactMap { offset, entry in
            guard let reason = reasons[first + offset] else { return entry }
            settings.leftOut.append(ImportRemark(line: entry.line, text: reason))
            return nil
        }
    }

    /// Expressions are tried one by one, so that there is a bound to them.
    private static func withinBounds(_ entries: [Entry], _ settings: inout ImportedSettings) -> [Entry] {
        var expressions = 0
        return entries.filter { entry in
            guard expressions + entry.expressions <= PatternTable.maxExpressions else {
                let reason =
                    "expected at most \(PatternTable.maxExpressions) expressions in a list, which this would exceed"
                settings.leftOut.append(ImportRemark(line: entry.line, text: reason))
                return false
            }
            expressions += entry.expressions
            return true
        }
    }

    // MARK: What is read

    private static func entries(of file: File, _ settings: inout ImportedSettings) -> [Entry] {
        var entries: [Entry] = []
        var known: Set<String> = []
        for (index, line) in ImportedText.lines(file.octets).enumerated() {
            let octets = ImportedText.trimmed(line.prefix { $0 != UInt8(ascii: "#") })
            guard !octets.isEmpty else { continue }
            let text = String(decoding: octets, as: UTF8.self)
            let place = ImportedLine(file: file.name, number: index + 1, text: text)
            do throws(NotCarried) {
                guard ImportedSettings.isPlain(octets) else {
                    throw NotCarried(reason: "expected one entry of ASCII signs, without white space in it")
                }
                let values =
                    switch file.kind {
                    case .clients: try client(text)
                    case .recipients: try recipient(text)
                    }
                if known.insert(text).inserted { entries.append(Entry(line: place, values: values)) }
            } catch {
                settings.leftOut.append(ImportRemark(line: place, text: error.reason))
            }
        }
        return entries
    }

    private static func client(_ text: String) throws(NotCarried) -> [String] {
        if let expression = expression(text) { return [expression] }
        if let network = try network(text) { return [network.description] }
        // The name and those below it. postgrey takes every sign literally: no name holds these.
        return try nameAndBelow(text)
    }

    private static func recipient(_ text: String) throws(NotCarried) -> [String] {
        if let expression = expression(text) { return [expression] }
        guard let at = text.firstIndex(of: "@") else {
            // An address of the domain, or of one below it; of one label only "@" tells that it is a domain.
            let values = try nameAndBelow(text)
            return text.contains(".") ? values : ["@\(text)", "*.\(text)"]
        }
        let local = text[..<at]
        let domain = text[text.index(after: at)...]
        guard !local.isEmpty else {
            throw NotCarried(
                reason: "postgrey takes this for an address with an empty local part, which nobody has; "
                    + "write \"\(text)\" into skip_recipients if the domain is meant")
        }
        guard !domain.isEmpty else { return ["/^\(literal(local))(\\+[^@]+)?@/"] }
        return [text, "/^\(literal(local))\\+[^@]+@\(literal(domain))$/"]
    }

    private static func nameAndBelow(_ text: String) throws(NotCarried) -> [String] {
        guard !text.hasPrefix("."), !text.hasPrefix("*") else {
            let name = text.drop { $0 == "." || $0 == "*" }
            throw NotCarried(
                reason: "postgrey takes the sign before the name literally, so that this matches nobody; "
                    + "write \"*.\(name)\" into the list if the names below are meant")
        }
        guard !text.hasSuffix("."), !text.hasPrefix("/") else {
            throw NotCarried(
                reason: "expected a name or an expression between two slashes; postgrey matches nobody by this")
        }
        return [text, "*.\(text)"]
    }

    // MARK: Expressions

    /// `/…/` with its inner slashes escaped; nil for a text that is none.
    private static func expression(_ text: String) -> String? {
        guard text.utf8.count > 2, text.hasPrefix("/"), text.hasSuffix("/") else { return nil }
        var written = "/"
        var isEscaped = false
        for sign in text.dropFirst().dropLast() {
            if sign == "/", !isEscaped { written += "\\" }
            written.append(sign)
            isEscaped = !isEscaped && sign == "\\"
        }
        return written + "/"
    }

    /// A text as an expression that matches it alone.
    private static func literal(_ text: Substring) -> String {
        text.map { "\\.[]{}()*+?^$|/".contains($0) ? "\\\($0)" : "\($0)" }.joined()
    }

    // MARK: Networks

    /// The network that NetAddr::IP makes of a text; nil for what postgrey takes for a name.
    private static func network(_ text: String) throws(NotCarried) -> Network? {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let host = parts.first else { return nil }
        let octets = host.split(separator: ".", omittingEmptySubsequences: false)
        let isDotted = octets.allSatisfy { (1...3).contains($0.utf8.count) && $0.utf8.allSatisfy(\.isASCIIDigit) }
        if isDotted, octets.count == 3, parts.count == 1 {
            guard let base = IPAddress("\(host).0") else { throw NotCarried(reason: noNetwork) }
            return Network(containing: base, prefixLength: 24)
        }
        if isDotted, octets.count == 2, parts.count == 1 {
            throw NotCarried(
                reason: "expected three numbers at least: of two postgrey makes \(host).0.0/24, which is hardly meant; "
                    + "write the network")
        }
        if isDotted, octets.count != 4 { throw NotCarried(reason: noNetwork) }
        guard isDotted || text.utf8.count(where: { $0 == UInt8(ascii: ":") }) > 1 else { return nil }
        guard let address = IPAddress(host) else { throw NotCarried(reason: noNetwork) }
        let most = if case .v4 = address { 32 } else { 128 }
        guard let length = parts.dropFirst().first else { return Network(containing: address, prefixLength: most) }
        guard (1...3).contains(length.utf8.count), length.utf8.allSatisfy(\.isASCIIDigit), let bits = Int(length),
            bits <= most
        else { throw NotCarried(reason: noNetwork) }
        return Network(containing: address, prefixLength: bits)
    }

    private static let noNetwork = "expected an address or a network, such as 192.0.2.1, 192.0.2.0/24 or 192.0.2"
}
