// postgrey's options, as Debian's /etc/default/postgrey holds them, as `[greylist]`. The whitelists are those that the
// options name, or postgrey's own. Source: postgrey(8), postgrey 1.37.

internal import PosternDaemon
internal import PosternMail

struct PostgreySettings {
    /// Assignments for `[greylist]`, each a line.
    private(set) var lines: [String] = []
    private(set) var leftOut: [ImportRemark] = []
    /// Files of whitelists, with whose they are; the options' own, if they name any.
    private(set) var whitelists: [(name: String, kind: PostgreyWhitelist.Kind, line: ImportedLine)] = []

    /// postgrey(8): read where the options name no others.
    static let usualWhitelists: [(name: String, kind: PostgreyWhitelist.Kind)] = [
        ("/etc/postgrey/whitelist_clients", .clients), ("/etc/postgrey/whitelist_clients.local", .clients),
        ("/etc/postgrey/whitelist_recipients", .recipients),
        ("/etc/postgrey/whitelist_recipients.local", .recipients),
    ]

    init(_ octets: [UInt8], file: String) {
        var values = ["delay": "300", "max-age": "35", "retry-window": "2"]
        var lines: [String: ImportedLine] = [:]
        var rest = words(of: octets, file)[...]
        while let (option, number) = rest.popFirst() {
            guard option.hasPrefix("--") || ["-d", "-q", "-v"].contains(option) else {
                let place = ImportedLine(file: file, number: number, text: option)
                leave(place, "expected an option --NAME or --NAME=VALUE")
                continue
            }
            guard option.hasPrefix("--") else { continue }  // daemonize, quiet, verbose
            let parts = option.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(parts.first ?? "")
            var value = parts.dropFirst().first.map(String.init)
            // Getopt::Long(3perl): a value may be a word of its own.
            if value == nil, Self.haveValues.contains(name) { value = rest.popFirst()?.word }
            let place = ImportedLine(
                file: file, number: number, text: value.map { "--\(name)=\($0)" } ?? "--\(name)")
            lines[name] = place
            switch name {
            case "whitelist-clients": whitelists.append((value ?? "", .clients, place))
            case "whitelist-recipients": whitelists.append((value ?? "", .recipients, place))
            default: values[name] = value ?? ""
            }
        }
        carry(values, lines)
    }

    /// The words of POSTGREY_OPTS with their lines. As for a shell the last assignment counts, with those that it repeats.
    private mutating func words(of octets: [UInt8], _ file: String) -> [(word: String, number: Int)] {
        let name = Array("POSTGREY_OPTS=".utf8)
        let text = Array("POSTGREY_TEXT=".utf8)
        var words: [(word: String, number: Int)] = []
        for (index, line) in ImportedText.lines(octets).enumerated() {
            let line = ImportedText.trimmed(line)
            if line.starts(with: text) {
                leave(
                    ImportedLine(file: file, number: index + 1, text: "POSTGREY_TEXT"),
                    Self.reasons["greylist-text"] ?? "")
            }
            guard line.starts(with: name) else { continue }
            let own = line.dropFirst(name.count).filter { ![0x22, 0x27].contains($0) }
                .split(whereSeparator: ImportedText.isSpace).map { String(decoding: $0, as: UTF8.self) }
            let repeats: Set = ["$POSTGREY_OPTS", "${POSTGREY_OPTS}"]
            if !own.contains(where: repeats.contains) { words = [] }
            words += own.filter { !repeats.contains($0) }.map { ($0, index + 1) }
        }
        return words
    }

    private mutating func carry(_ values: [String: String], _ places: [String: ImportedLine]) {
        func place(_ name: String) -> ImportedLine {
            places[name] ?? ImportedLine(file: "postgrey", number: 0, text: "--\(name)")
        }
        add("delay", "\(values["delay"] ?? "300")s", place("delay"))
        add("remember", "\(values["max-age"] ?? "35")d", place("max-age"))
        let window = (values["retry-window"] ?? "2").lowercased()
        // postgrey(8): days, unless an h follows.
        add("retry_within", window.last?.isNumber == true ? "\(window)d" : window, place("retry-window"))
        let byHost = values["lookup-by-host"] != nil
        add("ipv4_prefix", values["ipv4cidr"] ?? (byHost ? "32" : "24"), place("ipv4cidr"), isText: false)
        add("ipv6_prefix", values["ipv6cidr"] ?? (byHost ? "128" : "64"), place("ipv6cidr"), isText: false)
        for (name, line) in places.sorted(by: { $0.value.number < $1.value.number || $0.key < $1.key }) {
            if let reason = Self.reasons[name] {
                leftOut.append(ImportRemark(line: line, text: reason))
            } else if !Self.known.contains(name) {
                leftOut.append(ImportRemark(line: line, text: "there is nothing like it"))
            }
        }
    }

    mutating func leave(_ line: ImportedLine, _ reason: String) {
        leftOut.append(ImportRemark(line: line, text: reason))
    }

    private mutating func add(_ key: String, _ value: String, _ place: ImportedLine, isText: Bool = true) {
        let line = "\(key) = \(isText ? ImportedSettings.quoted(value) : value)"
        if let problem = ImportedSettings.check("[greylist]\n\(line)\n").problems.first {
            leftOut.append(ImportRemark(line: place, text: "\(problem.keyPath): \(problem.text)"))
        } else {
            lines.append(line)
        }
    }

    /// postgrey(8): of these a value is expected.
    private static let haveValues: Set<String> = [
        "dbdir", "delay", "facility", "greylist-action", "greylist-text", "group", "hostname", "inet", "ipv4cidr",
        "ipv6cidr", "listen-queue-size", "max-age", "pidfile", "retry-window", "socketmode", "syslog-facility",
        "syslogfacility", "unix", "user", "whitelist-clients", "whitelist-recipients", "x-greylist-header",
    ]

    /// Carried over, or about the program itself.
    private static let known: Set<String> = [
        "daemonize", "dbdir", "delay", "facility", "group", "inet", "ipv4cidr", "ipv6cidr", "listen-queue-size",
        "lookup-by-host", "lookup-by-subnet", "max-age", "pidfile", "quiet", "retry-window", "socketmode",
        "syslog-facility", "syslogfacility", "unix", "user", "verbose", "whitelist-clients", "whitelist-recipients",
    ]

    private static let reasons = [
        "auto-whitelist-clients": "a client that came back once is known to wait no more; there is no number to set",
        "exim": "Postfix's answers only",
        "greylist-action": "the answer is DEFER_IF_PERMIT, as postgrey's is by default",
        "greylist-text": "replies are our own: they tell the seconds that are left",
        "hostname": "replies name no host", "privacy": "triplets are kept as they are, in state.directory, mode 0600",
        "x-greylist-header": "no field is added",
    ]
}
