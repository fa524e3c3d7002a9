// `postern greylist`: what greylisting remembers, asked of postern-policy, whose file nobody else opens.

internal import ArgumentParser
internal import PosternDaemon

/// `postern greylist`.
struct GreylistCommand: SubcommandGroup {
    static let configuration = CommandConfiguration(
        commandName: "greylist",
        abstract: "Looks into greylisting's memory, and changes it.",
        discussion: """
            Greylisting remembers triplets (an origin, a sender, a recipient) that wait or have passed, and the origins \
            that have shown themselves: networks of clients, and domains that SPF passes for. postern-policy is asked \
            over its control socket.

            EXAMPLES
              postern greylist list 192.0.2.
              postern greylist allow example.net
              postern greylist forget 192.0.2.7

            EXIT STATUS
              0   done
              1   show: nothing is remembered
              64  the command line is wrong
              69  postern-policy does not run, or its memory cannot be read
            """,
        subcommands: [GreylistList.self, GreylistShow.self, GreylistAllow.self, GreylistForget.self])
}

/// Which entry is meant.
struct GreylistEntryArguments: ParsableArguments {
    @Option(help: ArgumentHelp("Where the control sockets are. (default: listen.control)", valueName: "folder"))
    var control: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("The triplet's envelope sender; with --recipient."))
    var sender: String?
    @Option(parsing: .unconditional, help: ArgumentHelp("The triplet's recipient; with --sender."))
    var recipient: String?
    @Argument(
        help: ArgumentHelp("A network, a domain, or an address, which stands for its network.", valueName: "origin"))
    var origin: String

    func validate() throws {
        if (sender == nil) != (recipient == nil) {
            throw ValidationError("expected --sender and --recipient, or neither; found one of them")
        }
    }

    func command(_ name: String) -> ControlCommand {
        ControlCommand(
            name,
            [
                "origin": .text(origin), "sender": sender.map { .text($0) } ?? .null,
                "recipient": recipient.map { .text($0) } ?? .null,
            ])
    }
}

struct GreylistList: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Lists what greylisting remembers.",
        usage: "postern greylist list [<options>] [<prefix>]",
        discussion: """
            One line an entry, in no order: its state, what it is, its origin, sender and recipient, and when it ends. \
            With <prefix>, those whose origin begins with it. A state is
              waiting   a triplet that has not come back yet
              learning  a domain with too few passed triplets to be known
              known     passes at once
              allowed   passes at once until it is forgotten: the admin has said so
              expired   counts no more, and will be removed

            With --json, one object on one line:
              {"entries":[{"kind":"triplet","origin":"192.0.2.0/24","sender":…,
              "recipient":…,"state":"waiting","first_seen":…,"last_seen":…,
              "passed_since":null,"expires":…,"passed_triplets":0,
              "networks":[]}],"complete":true}
            kind is client, domain or triplet.

            EXAMPLES
              postern greylist list
              postern greylist list example.net
              postern greylist list --json | jq '.entries[] | select(.state == "waiting")'

            EXIT STATUS
              0   listed
              64  the command line is wrong
              69  postern-policy does not run, or its memory cannot be read

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @Option(help: ArgumentHelp("Where the control sockets are. (default: listen.control)", valueName: "folder"))
    var control: String?
    @Option(help: ArgumentHelp("End after so many entries.", valueName: "number")) var limit = 10_000
    @Argument(help: ArgumentHelp("What the origin begins with.", valueName: "prefix")) var prefix = ""

    func validate() throws {
        guard limit > 0 else { throw ValidationError("expected a limit of 1 or more, found \(limit)") }
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, stated: control)
        var entries: [ControlDocument] = []
        var isCut = false
        let command = ControlCommand("greylist list", ["prefix": .text(prefix)])
        let answer = asked.read(.policy, command) { document in
            isCut = entries.count >= limit
            if !isCut { entries.append(document) }
            return !isCut
        }
        switch answer {
        case .document: break
        case .notRunning: throw CommandFailure(.unavailable, "postern-policy does not run")
        case .failed(let text): throw CommandFailure(.unavailable, "postern-policy: \(text)")
        }
        let notes = asked.notes + (isCut ? ["note: there are more than \(limit) entries; --limit shows more"] : [])
        guard !options.json else {
            let object: JSONValue = ["entries": .list(entries.map(JSONValue.init)), "complete": .boolean(!isCut)]
            return CommandOutput(json: object, notes: notes)
        }
        return CommandOutput(text: GreylistText.table(entries), notes: notes)
    }
}

struct GreylistShow: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Shows one entry of greylisting's memory.",
        usage: """
            postern greylist show [<options>] <origin>
            postern greylist show [<options>] --sender <sender>
                --recipient <recipient> <origin>
            """,
        discussion: """
            With --json, one object on one line: {"entry":{…}}, the entry as list has it, or null.

            EXAMPLES
              postern greylist show 192.0.2.7
              postern greylist show --sender ann@example.net \\
                  --recipient bo@example.com example.net

            EXIT STATUS
              0   shown
              1   nothing is remembered under it
              64  the command line is wrong
              69  postern-policy does not run, or its memory cannot be read

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var entry: GreylistEntryArguments

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, stated: entry.control)
        let document = try asked.document(of: .policy, entry.command("greylist show"))
        let found = document["entry"]
        let status: ExitStatus = found == nil ? .negative : .done
        guard !options.json else {
            let object: JSONValue = ["entry": found.map { JSONValue($0) } ?? .null]
            return CommandOutput(json: object, notes: asked.notes, status: status)
        }
        return CommandOutput(
            text: found.map(GreylistText.details) ?? "nothing is remembered\n", notes: asked.notes, status: status)
    }
}

struct GreylistAllow: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "allow",
        abstract: "Lets an origin or a triplet pass greylisting until it is forgotten.",
        usage: """
            postern greylist allow [<options>] <origin>
            postern greylist allow [<options>] --sender <sender>
                --recipient <recipient> <origin>
            """,
        discussion: """
            A domain is allowed for the mail that SPF passes for it by a, mx, ip4 or ip6. What is allowed never \
            expires; forget takes it back. To let everybody pass who claims a sender, use greylist.skip_senders.

            With --json, one object on one line: {"allowed":"192.0.2.0/24"}

            EXAMPLES
              postern greylist allow 192.0.2.7
              postern greylist allow example.net

            EXIT STATUS
              0   done
              64  the command line is wrong
              69  postern-policy does not run, or its memory cannot be written

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var entry: GreylistEntryArguments

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, stated: entry.control)
        let document = try asked.document(of: .policy, entry.command("greylist allow"))
        guard let allowed = document["allowed"]?.text else {
            throw CommandFailure(.unavailable, "postern-policy: expected what is allowed, found something else")
        }
        guard !options.json else {
            return CommandOutput(json: ["allowed": .text(allowed)], notes: asked.notes)
        }
        return CommandOutput(text: "\(DaemonControl.printable(allowed)) is allowed\n", notes: asked.notes)
    }
}

struct GreylistForget: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "forget",
        abstract: "Lets greylisting forget an origin with its triplets, or one triplet.",
        usage: """
            postern greylist forget [<options>] <origin>
            postern greylist forget [<options>] --sender <sender>
                --recipient <recipient> <origin>
            """,
        discussion: """
            The origin's next mail waits again.

            With --json, one object on one line: {"forgotten":3}

            EXAMPLES
              postern greylist forget 192.0.2.7
              postern greylist forget example.net

            EXIT STATUS
              0   done, also when there was nothing to forget
              64  the command line is wrong
              69  postern-policy does not run, or its memory cannot be written

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var entry: GreylistEntryArguments

    /// In a memory of many millions of entries each is looked at.
    private static let silence = Duration.seconds(300)

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, stated: entry.control)
        let document = try asked.lateDocument(
            of: .policy, entry.command("greylist forget"), silence: Self.silence)
        guard let count = document["forgotten"]?.number else {
            throw CommandFailure(.unavailable, "postern-policy: expected a number of entries, found something else")
        }
        guard !options.json else {
            return CommandOutput(json: ["forgotten": .number(Int(count))], notes: asked.notes)
        }
        return CommandOutput(
            text: count == 1 ? "1 entry forgotten\n" : "\(count) entries forgotten\n", notes: asked.notes)
    }
}

/// Entries for people. What strangers have written is shown without controls.
enum GreylistText {
    static func table(_ entries: [ControlDocument]) -> String {
        let head = ["STATE", "KIND", "ORIGIN", "SENDER", "RECIPIENT", "ENDS"]
        let rows = entries.map { entry in
            [
                word(entry, "state"), word(entry, "kind"), word(entry, "origin"), address(entry, "sender"),
                address(entry, "recipient"), entry["expires"]?.text.map(DaemonControl.printable) ?? "never",
            ]
        }
        return Columns.lines([head] + rows).map { $0 + "\n" }.joined()
    }

    static func details(_ entry: ControlDocument) -> String {
        var rows = [
            ["origin", word(entry, "origin")], ["kind", word(entry, "kind")], ["state", word(entry, "state")],
        ]
        for key in ["sender", "recipient"] where entry[key] != nil { rows.append([key, address(entry, key)]) }
        for (key, title) in [
            ("first_seen", "first seen"), ("last_seen", "last seen"), ("passed_since", "passes since"),
            ("expires", "ends"),
        ] {
            rows.append([title, entry[key]?.text.map(DaemonControl.printable) ?? "never"])
        }
        if entry["kind"]?.text == "domain" {
            let networks = (entry["networks"]?.elements ?? []).compactMap(\.text).map(DaemonControl.printable)
            rows.append(["passed triplets", "\(entry["passed_triplets"]?.number ?? 0)"])
            rows.append(["networks", networks.joined(separator: ", ")])
        }
        return Columns.lines(rows).map { $0 + "\n" }.joined()
    }

    private static func word(_ entry: ControlDocument, _ key: String) -> String {
        DaemonControl.printable(entry[key]?.text ?? "unknown")
    }
    private static func address(_ entry: ControlDocument, _ key: String) -> String {
        entry[key]?.text.map { "<\(DaemonControl.printable($0))>" } ?? "-"
    }
}
