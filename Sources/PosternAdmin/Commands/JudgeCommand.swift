// `postern judge`: what postern-dmarc would find in a message and do with it: SPF of both identities (RFC 7208), DKIM,
// DMARC (RFC 9989), and the verdict by the configuration. The same judges and the same local policy; a sender or HELO
// name that is odd is judged like any other. Nothing is delivered, kept for reports or logged.

internal import ArgumentParser
internal import PosternAuth
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

struct JudgeCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "judge",
        abstract: "Judges a message as postern-dmarc would.",
        usage: """
            postern judge [<options>] --client <ip> --helo <name>
                   --sender <sender> <file>
            """,
        discussion: """
            Prints a line for each SPF identity, each DKIM signature and each author, then the verdict by [spf] and \
            [dmarc] of the configuration (accept, quarantine, hold, defer or reject, with the reply), what a table in \
            shadow would have done, and the field Authentication-Results that postern-dmarc would add if it let the \
            message in.

            <sender> and <name> are judged as they are given, be they empty or no addresses and names at all. LF line \
            ends in <file> are taken as CRLF, and an mbox "From " line at its top is skipped. A client in \
            host.networks or host.relays is judged all the same, though the daemon would not.

            With --json, one object on one line. policy is what governs the author, by p, sp or np of the record found \
            at policy_domain; applied is what is left of it after t=y and local settings; verdict is accept, \
            quarantine (to hold is to quarantine), defer or reject; header is one line. dkim holds what dkim verify \
            prints:
              {"spf":{"mailfrom":{"result":"fail","domain":"example.com",
              "reason":"a mechanism matched"},"helo":{…}},"dkim":[…],
              "dmarc":{"result":"fail","domain":"mail.example.com",
              "organizational_domain":"example.com","policy_domain":"example.com",
              "policy":"reject","applied":"quarantine","testing":false,
              "aligned_spf":false,"aligned_dkim":false,
              "reason":"neither SPF nor DKIM passed"},
              "verdict":"quarantine","header":"Authentication-Results: …"}

            EXAMPLES
              postern judge --client 192.0.2.1 --helo mx.example.com \\
                  --sender ann@example.com message.eml
              postcat -bhq 4cXk2J1hz | postern judge --json --client 192.0.2.1 \\
                  --helo mx.example.com --sender "" - | jq -r .verdict

            EXIT STATUS
              0   the message would be accepted
              1   it would be quarantined, held or rejected
              64  the command line is wrong
              65  <file> is no message: empty, no header, or larger than \(Files.maxMessageOctets / 1_048_576) MiB
              69  it would be deferred; <file> or the public suffix list cannot be read
              78  the configuration is wrong

            FILES
              \(DaemonArguments.defaultConfiguration)
              \(PublicSuffixFile.path), with dmarc.discovery = "psl"
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var transaction: JudgedTransaction
    @Argument(help: "The message; - for standard input.") var file: String

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let message = try surroundings.message(file)
        let loaded = try options.configurationIfAny(for: .dmarc, in: surroundings)
        let configuration: Configuration
        if let read = loaded.configuration { configuration = read } else { configuration = try .ofDefaults() }
        let log = NoteCollector()
        let resolver = try options.resolver(loaded)
        let judged = try JudgedFile(
            message, transaction, configuration, now: surroundings.now()
        ) { surroundings.dns(resolver, log) }
        let notes = loaded.notes + log.notes(on: resolver) + transaction.notes(configuration.host)
        let status: ExitStatus =
            switch judged.action {
            case .accept: .done
            case .quarantine, .hold, .reject: .negative
            case .defer: .unavailable
            }
        guard !options.json else { return CommandOutput(json: judged.json, notes: notes, status: status) }
        return CommandOutput(text: judged.lines, notes: notes, status: status)
    }
}

/// What a client says before its message.
struct JudgedTransaction: ParsableArguments {
    @Option(
        help: ArgumentHelp("The address of the client, IPv4 or IPv6.", valueName: "ip"),
        transform: { text in try IPAddress(argument: text) })
    var client: IPAddress
    // `unconditional`: what begins with a hyphen is judged too.
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("The name that the client gives in HELO or EHLO.", valueName: "name"))
    var helo: String
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("The address of MAIL FROM, without angle brackets.", valueName: "sender"))
    var sender: String

    /// What the daemon would do otherwise.
    func notes(_ host: HostSettings) -> [String] {
        for (networks, key) in [(host.relays, "host.relays"), (host.networks, "host.networks")]
        where networks.contain(client) {
            return ["warning: \(client) is in \(key), whose mail postern-dmarc does not judge"]
        }
        return []
    }
}

extension Configuration {
    /// What holds where there is no file.
    static func ofDefaults() throws(CommandFailure) -> Configuration {
        let result = Configuration.read([], file: "the defaults", folder: "/", for: .dmarc)
        guard let configuration = result.configuration else {
            throw CommandFailure(.badConfiguration, result.problems.first?.description ?? "the defaults do not hold")
        }
        return configuration
    }
}
