// `postern dkim keys`: the keys that the configuration names, and whether postern-dkim can use them.

internal import ArgumentParser
internal import PosternAuth
internal import PosternDaemon
internal import PosternMail

struct DKIMKeys: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "keys",
        abstract: "Lists the configured keys.",
        usage: "postern dkim keys [<options>]",
        discussion: """
            Prints for each [[dkim.key]], and each key of its directory, the name under which its record lies, its \
            size, its file and whether \(KeyOwner.daemonUser) can use it, the authors that it signs for, and the logins \
            that may use it. Files are judged as at a start: readable for \(KeyOwner.daemonUser) and for nobody else. \
            Whether a key signs, waits for DNS, or has been superseded, and when it signed last, is asked of \
            postern-dkim where it runs. DNS is not asked: that is `postern dkim testkey`.

            With --json, one object on one line. algorithm and bits are null and problem is a text where the file \
            cannot be used; from is null for the domain and its subdomains; made, for a directory's key, last_use and \
            record_may_go are times or null; signs and published are true, false or null where that is not known:
              {"keys":[{"domain":"example.com","selector":"2026q4",
              "name":"2026q4._domainkey.example.com","algorithm":"rsa-sha256",
              "bits":2048,"file":"/etc/postern/keys/example.com/2026q4.pem",
              "problem":null,"from":null,"users":[],"made":"2026-11-21T02:00:00Z",
              "signs":true,"published":true,"last_use":"2026-11-21T08:12:41Z",
              "record_may_go":null}]}

            EXAMPLES
              postern dkim keys
              postern dkim keys --json | jq -r '.keys[].name'

            EXIT STATUS
              0   done
              64  the command line is wrong
              78  the configuration is wrong, or a key cannot be used

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments

    /// One key, and what became of its file.
    private struct Row {
        let entry: DKIMKeyEntry
        let name: DKIMKeyName
        let key: PrivateKey?
        let problem: String?
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let whole = options.load(for: .dkim, in: surroundings)
        // Listed also where something is wrong.
        guard let entries = whole.readable?.dkim.entries else { throw options.failure(whole) }
        let reader = surroundings.keyReader()
        let rows = try entries.map { entry throws(CommandFailure) in try Self.row(entry, reader: reader) }
        // What is wrong with a file stands beside it.
        let files = Set(entries.map(\.keyPath))
        let problems = whole.problems.filter { !files.contains($0.keyPath) }
        let standings = KeyStandingsReport(DaemonControl(options, place))
        var notes = standings.notes
        notes += problems.map { "\($0.severity == .error ? "error" : "warning"): \($0)" }
        for row in rows {
            if let advice = row.key.flatMap(KeyAdvice.onSize) { notes.append("warning: \(row.name.record): \(advice)") }
        }
        let isWhole = rows.allSatisfy { $0.problem == nil } && !problems.contains { $0.severity == .error }
        if !isWhole, let advice = KeyAdvice.onRights(of: reader) { notes.append(advice) }
        let status = isWhole ? ExitStatus.done : .badConfiguration
        guard !options.json else {
            return CommandOutput(
                json: ["keys": .list(rows.map { Self.json($0, standings[$0.name]) })], notes: notes, status: status)
        }
        if rows.isEmpty, isWhole { notes.append("\(options.configPath) has no [[dkim.key]]: nothing is signed") }
        let now = surroundings.now()
        let texts = rows.map { Self.text($0, standings.members(of: $0.name, $0.entry, now: now)) }
        return CommandOutput(text: texts.joined(separator: "\n"), notes: notes, status: status)
    }

    private static func row(_ entry: DKIMKeyEntry, reader: UserIdentity) throws(CommandFailure) -> Row {
        let name = try DKIMKeyName(entry)
        do throws(DKIMKeyEntryError) {
            return Row(entry: entry, name: name, key: try entry.privateKey(for: reader), problem: nil)
        } catch {
            return Row(entry: entry, name: name, key: nil, problem: error.description)
        }
    }

    /// Some lines, each with its line end.
    private static func text(_ row: Row, _ standing: [(String, String)]) -> String {
        let entry = row.entry
        let size = row.key.map { "\($0.algorithm.rawValue), \($0.bits) bits" } ?? "unknown"
        let members =
            ([
                ("domain", "\(entry.domain)"), ("selector", "\(entry.selector)"), ("key", size),
                ("file", LogText.escaped(Array(entry.file.utf8))), ("state", row.problem ?? "ok"),
            ] + standing) + [
                ("from", entry.from.isEmpty ? "\(entry.domain) and its subdomains" : list(entry.from)),
                ("users", entry.users.isEmpty ? "none" : list(entry.users)),
            ]
        let width = 10
        let lines = members.map { name, value in
            "  " + name + String(repeating: " ", count: max(1, width - name.count)) + value + "\n"
        }
        return "\(row.name.record)\n\(lines.joined())"
    }

    private static func list(_ texts: [String]) -> String {
        texts.map { LogText.escaped(Array($0.utf8)) }.joined(separator: ", ")
    }

    private static func json(_ row: Row, _ standing: KeyStandingsReport.Key?) -> JSONValue {
        let entry = row.entry
        func time(_ time: UnixTime?) -> JSONValue { .optional(time.map { LogTimeText(offset: 0).rfc3339($0) }) }
        return [
            "domain": .text("\(entry.domain)"), "selector": .text("\(entry.selector)"),
            "name": .text("\(row.name.record)"), "algorithm": .optional(row.key?.algorithm.rawValue),
            "bits": .optional(row.key?.bits), "file": .text(entry.file), "problem": .optional(row.problem),
            "from": entry.from.isEmpty ? .null : .list(entry.from.map(JSONValue.text)),
            "users": .list(entry.users.map(JSONValue.text)), "made": time(entry.made),
            "signs": standing.map { .boolean($0.signs) } ?? .null,
            "published": standing?.isPublished.map { .boolean($0) } ?? .null, "last_use": time(standing?.lastUse),
            "record_may_go": time(standing?.recordMayGo),
        ]
    }
}
