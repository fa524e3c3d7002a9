// `postern store`: the store that several hosts share beside what this host keeps itself. postern-policy and postern-rate
// own both; they are asked over their control sockets, and do the copying.

internal import ArgumentParser
internal import PosternAdmission
internal import PosternDaemon
internal import PosternMail
internal import PosternStore

/// `postern store`.
struct StoreCommand: SubcommandGroup {
    static let configuration = CommandConfiguration(
        commandName: "store",
        abstract: "Looks into the store that several hosts share, and copies to and from it.",
        discussion: """
            With store.url greylisting and limits are kept in a Redis or Valkey server that hosts share, and beside it in \
            each host's own files, from which it goes on while the store is away.

            EXAMPLES
              postern store stats
              postern store copy --from embedded --to redis://192.0.2.10:6379/0

            EXIT STATUS
              0   done
              64  the command line is wrong
              69  a daemon does not run, or the store does not answer
              78  the configuration is wrong, or names no store
            """,
        subcommands: [StoreStats.self, StoreCopying.self])
}

/// The daemons that remember something in it.
private enum Ledger: String, CaseIterable {
    case greylist
    case limits

    var daemon: DaemonName {
        switch self {
        case .greylist: .policy
        case .limits: .rate
        }
    }

    /// Said of one that the daemon's configuration keeps nothing in.
    var unused: String {
        switch self {
        case .greylist: "not in use; nobody is greylisted here"
        case .limits: "not in use; there are no limits here"
        }
    }

    /// Whether that is what the daemon has answered.
    static func isUnused(_ document: ControlDocument) -> Bool { document["in_use"] == .boolean(false) }
}

struct StoreStats: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "stats",
        abstract: "Tells how the shared store is, and what is in it.",
        usage: "postern store stats [<options>]",
        discussion: """
            Of each daemon that uses it: whether it answers, how often it has failed since the daemon's start, how much it \
            is to be told of yet, and what is in it and in the host's own file. Large numbers of the shared greylist are \
            an estimate. Of the server, as far as its access list lets us ask: its keys, its memory, and what it does when \
            that is full. Where the configuration greylists nobody, or has no limits, that is said instead.

            With --json, one object on one line:
              {"ledgers":[{"ledger":"greylist","in_use":true,"store":{"url":…,
              "working":true,"outages":0,"connections":2,"waiting":0},
              "own":{…},"shared":{…}}],
              "server":{"keys":1000,"used_memory":…,"maxmemory":…,
              "maxmemory_policy":"noeviction","role":"master"}}
            store, own and shared are null for a ledger that is not in use, store and shared where each host keeps its \
            own.

            EXAMPLES
              postern store stats

            EXIT STATUS
              0   what is in use works
              64  the command line is wrong
              69  a store that is in use does not answer; neither daemon runs

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, place)
        var notes = asked.notes
        var ledgers: [ControlDocument] = []
        for ledger in Ledger.allCases {
            // Counting a large file may take a while.
            switch asked.ask(ledger.daemon, "store stats", within: .seconds(60)) {
            case .document(let document): ledgers.append(document)
            case .notRunning: notes.append("note: \(ledger.daemon.rawValue) does not run")
            case .failed(let text): notes.append("warning: \(ledger.daemon.rawValue): \(text)")
            }
        }
        guard !ledgers.isEmpty else {
            var failure = CommandFailure(.unavailable, "expected postern-policy or postern-rate, found neither")
            failure.notes = notes
            throw failure
        }
        let server = server(in: surroundings, &notes)
        if let server, server["maxmemory_policy"]?.text?.hasPrefix("allkeys-") == true {
            notes.append(
                "warning: the server drops any key when its memory is full, limits in force among them; "
                    + "maxmemory-policy noeviction or volatile-ttl, see contrib/doc/fleet.md")
        }
        let text = ledgers.map { Self.told($0) }.joined() + (server.map { Self.told(ofServer: $0) } ?? "")
        let shown: JSONValue = server.map { JSONValue($0) } ?? .null
        let isAway = ledgers.contains { $0["store"]?["working"] == .boolean(false) }
        return options.output(
            text, json: ["ledgers": .list(ledgers.map { JSONValue($0) }), "server": shown], notes: notes,
            status: isAway ? .unavailable : .done)
    }

    // MARK: The server

    /// What it says of itself; nil without one, or where it does not say.
    private func server(in surroundings: Surroundings, _ notes: inout [String]) -> ControlDocument? {
        guard let configuration = options.load(for: .dns, in: surroundings).readable, let url = configuration.store.url
        else { return nil }
        let store = SharedStore(url, configuration.store, log: NoteCollector())
        var members: [ControlDocument.Member] = []
        do throws(StoreFailure) {
            let keys = try store.command([Array("DBSIZE".utf8)], within: .seconds(5)).integer
            members.append(.init("keys", keys.map { .number($0) } ?? .null))
        } catch {
            notes.append("warning: store \(url): \(error)")
            return nil
        }
        // INFO is @dangerous in Redis's access lists: who may not ask it is told the number of keys.
        guard let info = try? store.command([Array("INFO".utf8)], within: .seconds(5)).text else {
            return .object(members)
        }
        for line in info.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: ":", maxSplits: 1).map(String.init)
            guard let key = parts.first, let value = parts.dropFirst().first else { continue }
            switch key {
            case "used_memory", "maxmemory", "evicted_keys", "connected_slaves":
                members.append(.init(key, Int64(value).map { .number($0) } ?? .null))
            case "maxmemory_policy", "role", "redis_version":
                members.append(.init(key, .text(DaemonControl.printable(value))))
            default: break
            }
        }
        return .object(members)
    }

    // MARK: Text

    private static func told(_ ledger: ControlDocument) -> String {
        func shown(_ document: ControlDocument?) -> String { DaemonControl.printable(document?.text ?? "unknown") }
        var lines: [String] = []
        let name = shown(ledger["ledger"])
        if Ledger.isUnused(ledger) {
            lines.append("\(name): \(Ledger(rawValue: name)?.unused ?? "not in use")")
        } else if let store = ledger["store"] {
            let state = store["working"] == .boolean(true) ? "works" : "does not answer; this host decides by itself"
            lines.append(
                "\(name): shared at \(shown(store["url"])), which \(state); outages \(store["outages"]?.number ?? 0), "
                    + "connections \(store["connections"]?.number ?? 0), waiting \(store["waiting"]?.number ?? 0)")
        } else {
            lines.append("\(name): on this host alone")
        }
        for (word, key) in [("shared", "shared"), ("this host's", "own")] {
            guard let counts = ledger[key] else { continue }
            lines.append("  \(word): " + counted(counts))
        }
        return lines.map { $0 + "\n" }.joined()
    }

    private static func counted(_ counts: ControlDocument) -> String {
        if let trouble = counts["error"]?.text { return DaemonControl.printable(trouble) }
        return counts.members.map { "\(DaemonControl.printable($0.key)) \($0.value.number ?? 0)" }.joined(
            separator: ", ")
    }

    private static func told(ofServer server: ControlDocument) -> String {
        let words = server.members.compactMap { member -> String? in
            let value = member.value.text ?? member.value.number.map { "\($0)" }
            return value.map { "\(member.key) \($0)" }
        }
        return "server: \(words.joined(separator: ", "))\n"
    }
}

struct StoreCopying: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "copy",
        abstract: "Copies what is remembered between this host's own files and the shared store.",
        usage: "postern store copy --from <place> --to <place> [--after <mark>]",
        discussion: """
            A place is "embedded", this host's own files, or the shared store by its URL, which is store.url's. \
            postern-policy and postern-rate have both once they have started with store.url, and copy while mail flows. \
            What is there already is merged: nobody who is known becomes unknown, no count becomes smaller, and the \
            same copy again changes nothing. So a copy that broke off may be begun anew, or go on where it was, by \
            the mark that is told.

            With --json, one object on one line:
              {"copied":[{"ledger":"greylist","in_use":true,"looked":120000,
              "copied":118211},…]}

            EXAMPLES
              postern store copy --from embedded --to redis://192.0.2.10:6379/0
              postern store copy --from redis://192.0.2.10:6379/0 --to embedded

            EXIT STATUS
              0   copied
              64  the command line is wrong
              69  a daemon does not run, or the store does not answer
              78  the configuration is wrong, or names another store

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    private static let embedded = "embedded"
    /// Breaks of the connection that are waited for: a daemon that restarts.
    private static let maxBreaks = 5
    /// Longest wait for one page.
    private static let silence = Duration.seconds(120)
    /// Seconds between two lines of progress.
    private static let progressInterval: Int64 = 5

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments
    @Option(help: ArgumentHelp("Where it is.", valueName: "place")) var from: String
    @Option(help: ArgumentHelp("Where it goes.", valueName: "place")) var to: String
    @Option(help: ArgumentHelp("Go on where a copy broke off.", valueName: "mark")) var after: String?

    func validate() throws {
        guard (from == Self.embedded) != (to == Self.embedded) else {
            throw ValidationError("expected \"embedded\" on one side and a store's URL on the other")
        }
        if let after, mark(after) == nil { throw ValidationError("--after: expected what a copy has told") }
    }

    private func mark(_ text: String) -> (ledger: Ledger, cursor: String)? {
        let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
        guard let ledger = parts.first.flatMap(Ledger.init), let cursor = parts.dropFirst().first else { return nil }
        return (ledger, cursor)
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let result = options.load(for: .dns, in: surroundings)
        guard let configuration = result.readable else { throw options.failure(result) }
        let named = from == Self.embedded ? to : from
        guard let url = configuration.store.url, "\(url)" == named else {
            let found = configuration.store.url.map { "\($0)" } ?? "none"
            throw CommandFailure(
                .badConfiguration,
                "\(options.configPath): expected \(named) in store.url, found \(found); write it there, and restart "
                    + "postern-policy and postern-rate")
        }
        let asked = DaemonControl(options, place)
        let start = after.flatMap(mark)
        var ledgers = Ledger.allCases.filter { asked.usual.contains($0.daemon) }
        if let start { ledgers = ledgers.filter { $0 == start.ledger || start.ledger == .greylist } }
        guard !ledgers.isEmpty else { throw asked.failure("expected postern-policy or postern-rate, found neither") }
        if let start, !ledgers.contains(start.ledger) {
            var failure = asked.failure("\(start.ledger.daemon.rawValue) does not run")
            failure.notes.append("go on by --after \(start.ledger.rawValue):\(start.cursor)")
            throw failure
        }
        let direction = from == Self.embedded ? StoreDirection.toShared : .toOwn
        var done: [(ledger: Ledger, outcome: Outcome)] = []
        for ledger in ledgers {
            let cursor = start?.ledger == ledger ? start?.cursor : nil
            done.append((ledger, try copy(ledger, direction, after: cursor, asked, surroundings)))
        }
        let text = done.map { ledger, outcome in
            let told = "\(outcome.copied) of \(outcome.looked) entries were new there"
            return "\(ledger.rawValue): \(outcome.isUsed ? told : ledger.unused)\n"
        }.joined()
        return options.output(
            text,
            json: [
                "copied": .list(
                    done.map {
                        [
                            "ledger": .text($0.ledger.rawValue), "in_use": .boolean($0.outcome.isUsed),
                            "looked": .number(Int($0.outcome.looked)), "copied": .number(Int($0.outcome.copied)),
                        ]
                    })
            ], notes: asked.notes)
    }

    /// What has become of one ledger's copy.
    private struct Outcome {
        var isUsed = true
        var looked: Int64 = 0
        var copied: Int64 = 0
    }

    private func copy(
        _ ledger: Ledger, _ direction: StoreDirection, after: String?, _ asked: DaemonControl,
        _ surroundings: Surroundings
    ) throws(CommandFailure) -> Outcome {
        var cursor = after
        var outcome = Outcome()
        var breaks = 0
        var told = surroundings.now()
        while true {
            let command = ControlCommand(
                "store copy",
                ["direction": .text(direction.rawValue), "after": cursor.map(ControlDocument.text) ?? .null])
            var isPastStart = false
            let answer = asked.read(ledger.daemon, command, silence: Self.silence) { page in
                isPastStart = true
                if Ledger.isUnused(page) { outcome.isUsed = false }
                outcome.looked += page["looked"]?.number ?? 0
                outcome.copied += page["copied"]?.number ?? 0
                cursor = page["next"]?.text ?? cursor
                let now = surroundings.now()
                if now.seconds - told.seconds >= Self.progressInterval {
                    told = now
                    surroundings.tell(
                        "\(ledger.rawValue): \(outcome.looked) entries looked at, \(outcome.copied) new")
                }
                return true
            }
            switch answer {
            case .document: return outcome
            case .notRunning, .failed:
                // What is refused at once is no break.
                breaks += 1
                guard isPastStart || cursor != nil, breaks <= Self.maxBreaks else {
                    do throws(CommandFailure) { _ = try asked.taken(answer, of: ledger.daemon) } catch {
                        var failure = error
                        if let cursor { failure.notes.append("go on by --after \(ledger.rawValue):\(cursor)") }
                        throw failure
                    }
                    return outcome
                }
                surroundings.tell(
                    "\(ledger.rawValue): broken off after \(outcome.looked) entries; trying to go on")
                surroundings.pause(.seconds(1))
            }
        }
    }
}
