// `postern dkim verify`: what postern-dkim would find in a message.

internal import ArgumentParser
internal import PosternAuth
internal import PosternDaemon
internal import PosternMail

struct DKIMVerify: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Verifies the DKIM signatures of a message.",
        usage: "postern dkim verify [<options>] <file>",
        discussion: """
            Prints one line for each signature: its result (RFC 8601 §2.7.1), the reason if it is not pass, and what \
            is known of it. LF line ends are taken as CRLF, and an mbox "From " line at the top is skipped. Keys are \
            asked for at postern-dns, or at --resolver. dkim.min_rsa_bits and dkim.max_signatures of the \
            configuration hold.

            With --json, one object on one line; auid is the tag i=, reason is null for pass:
              {"signatures":[{"result":"pass","domain":"example.com",
              "selector":"2026q4","auid":null,"algorithm":"rsa-sha256",
              "key_bits":2048,"reason":null}]}

            EXAMPLES
              postern dkim verify message.eml
              postern dkim verify --resolver 9.9.9.9 --json - < message.eml
              postcat -bhq 4cXk2J1hz | postern dkim verify -

            EXIT STATUS
              0   at least one signature passes
              1   none passes: there is none, or each fails, or its key cannot be had
              64  the command line is wrong
              65  <file> is no message: empty, no header, or larger than \(Files.maxMessageOctets / 1_048_576) MiB
              69  <file> cannot be read
              78  the configuration is wrong

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @Option(
        help: ArgumentHelp(
            "Judge expiry as of this time, in seconds since 1970. (default: now)", valueName: "seconds"))
    var now: Int64?
    @Argument(help: "The message; - for standard input.") var file: String

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let message = try surroundings.message(file)
        let loaded = try options.configurationIfAny(for: .dns, in: surroundings)  // no verifier opens private keys
        let log = NoteCollector()
        let resolver = try options.resolver(loaded)
        let findings = message.findings(
            settings: loaded.configuration?.dkim.verification ?? DKIMVerificationSettings(),
            dns: surroundings.dns(resolver, log),
            now: now.map { UnixTime(seconds: $0) } ?? surroundings.now())
        let status: ExitStatus = findings.contains { $0.result == .pass } ? .done : .negative
        let notes = loaded.notes + log.notes(on: resolver)
        guard !options.json else {
            let signatures = findings.map(FindingText.json)
            return CommandOutput(
                json: ["signatures": .list(signatures)], notes: notes, status: status)
        }
        let lines = findings.isEmpty ? ["none (no DKIM-Signature field)"] : findings.map(FindingText.line)
        return CommandOutput(text: lines.map { $0 + "\n" }.joined(), notes: notes, status: status)
    }
}
