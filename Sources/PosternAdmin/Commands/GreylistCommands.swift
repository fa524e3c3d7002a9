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
    @OptionGroup var place: ControlArguments
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

    static func usage(_ name: String) -> String {
        """
        postern greylist \(name) [<options>] <origin>
        postern greylist \(name) [<options>] --sender <sender>
            --recipient <recipient> <origin>
        """
    }

    /// The end of what the commands with these arguments end with.
    /// - Parameter done: what cannot be done to the memory.
    static func exits(_ done: String) -> String {
        """
          64  the command line is wrong
          69  postern-policy does not run, or its memory cannot be \(done)

        FILES
          \(DaemonArguments.defaultConfiguration)
        """
    }

    /// What postern-policy is asked.
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
    @OptionGroup var place: ControlArguments
    @OptionGroup var wanted: ListArguments
    @Argument(help: ArgumentHelp("What the origin begins with.", valueName: "prefix")) var prefix = ""

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        try DaemonControl(options, place).list(
            of: .policy, ControlCommand("greylist list", ["prefix": .text(prefix)]), wanted, as: options,
            in: surroundings, head: GreylistText.head, row: GreylistText.row)
    }
}

struct GreylistShow: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Shows one entry of greylisting's memory.",
        usage: GreylistEntryArguments.usage("show"),
        discussion: """
            With --json, one object on one line: {"entry":{…}}, the entry as list has it, or null.

            EXAMPLES
              postern greylist show 192.0.2.7
              postern greylist show --sender ann@example.net \\
                  --recipient bo@example.com example.net

            EXIT STATUS
              0   shown
              1   nothing is remembered under it
            \(GreylistEntryArguments.exits("read"))
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var entry: GreylistEntryArguments

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, entry.place)
        let document = try asked.document(of: .policy, entry.command("greylist show"))
        let found = document["entry"]
        return options.output(
            found.map(GreylistText.details) ?? "nothing is remembered\n",
            json: ["entry": found.map { JSONValue($0) } ?? .null], notes: asked.notes,
            status: found == nil ? .negative : .done)
    }
}

struct GreylistAllow: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "allow",
        abstract: "Lets an origin or a triplet pass greylisting until it is forgotten.",
        usage: GreylistEntryArguments.usage("allow"),
        discussion: """
            A domain is allowed for the mail that SPF passes for it by a, mx, ip4 or ip6. What is allowed never \
            expires; forget takes it back. To let everybody pass who claims a sender, use greylist.skip_senders.

            With --json, one object on one line: {"allowed":"192.0.2.0/24"}

            EXAMPLES
              postern greylist allow 192.0.2.7
              postern greylist allow example.net

            EXIT STATUS
              0   done
            \(GreylistEntryArguments.exits("written"))
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var entry: GreylistEntryArguments

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, entry.place)
        let document = try asked.document(of: .policy, entry.command("greylist allow"))
        guard let allowed = document["allowed"]?.text else { throw asked.unexpected("what is allowed", of: .policy) }
        return options.output(
            "\(DaemonControl.printable(allowed)) is allowed\n", json: ["allowed": .text(allowed)], notes: asked.notes)
    }
}

struct GreylistForget: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "forget",
        abstract: "Lets greylisting forget an origin with its triplets, or one triplet.",
        usage: GreylistEntryArguments.usage("forget"),
        discussion: """
            The origin's next mail waits again.

            With --json, one object on one line: {"forgotten":3}

            EXAMPLES
              postern greylist forget 192.0.2.7
              postern greylist forget example.net

            EXIT STATUS
              0   done, also when there was nothing to forget
            \(GreylistEntryArguments.exits("written"))
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var entry: GreylistEntryArguments

    /// In a memory of many millions of entries each is looked at.
    private static let silence = Duration.seconds(300)

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, entry.place)
        let document = try asked.lateDocument(
            of: .policy, entry.command("greylist forget"), silence: Self.silence)
        let count = try asked.number("forgotten", of: "entries", in: document, of: .policy)
        return options.output(
            count == 1 ? "1 entry forgotten\n" : "\(count) entries forgotten\n", json: ["forgotten": .number(count)],
            notes: asked.notes)
    }
}
