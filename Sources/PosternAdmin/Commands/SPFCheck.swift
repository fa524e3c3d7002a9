// `postern spf`: what SPF says of one client and one sender (RFC 7208), as the judge finds it. A sender or HELO name
// that is odd is judged like any other, for that is what comes in mail; DMARC and what is done about it are not here.

internal import ArgumentParser
internal import PosternAuth
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

struct SPFCheck: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "spf",
        abstract: "Judges by SPF whether a client may use a sender (RFC 7208).",
        usage: "postern spf [<options>] --client <ip> --helo <name> --sender <sender>",
        discussion: """
            Prints one line: the result, the reason, the domain that was asked about, the mechanism that decided, \
            how many terms needed DNS (at most 10), the way through includes and redirects if there is one, and how \
            the domain explains a fail:
              fail (a mechanism matched) domain=example.com mechanism="-all" lookups=1
            The result is none, neutral, pass, fail, softfail, temperror or permerror.

            <sender> and <name> are judged as they are given, be they empty or no addresses and names at all. An \
            empty sender is the null reverse-path, judged as postmaster at the HELO name (RFC 7208 §2.4). An \
            explanation names this host (%{r}) by host.name of the configuration, which --resolver does without.

            With --json, one object on one line. explanation is null without one, mechanism where none decided:
              {"result":"fail","explanation":null,"mechanism":"-all","lookups":1,
              "reason":"a mechanism matched"}

            EXAMPLES
              postern spf --client 192.0.2.1 --helo mx.example.com --sender ann@example.com
              postern spf --client 2001:db8::1 --helo mx.example.com --sender ""
              postern spf --resolver 9.9.9.9 --json --client 192.0.2.1 \\
                  --helo mx.example.com --sender ann@example.com | jq -r .result

            EXIT STATUS
              0   judged: pass, neutral, softfail or none
              1   fail, or the domain's records are wrong (permerror)
              64  the command line is wrong
              69  DNS could not tell (temperror)
              78  the configuration is wrong

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @Option(
        help: ArgumentHelp("The address of the client, IPv4 or IPv6.", valueName: "ip"),
        transform: { text in
            guard let address = IPAddress(text) else {
                throw ValidationError("expected an IPv4 or IPv6 address, found \"\(LogText.escaped(text.utf8))\"")
            }
            return address
        })
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

    /// The words with `--sender=` as `--sender` and an empty word, and `--helo=` likewise: ArgumentParser takes an empty
    /// value behind "=" for none and the next word for the value, and a script writes `--sender="$sender"` for the null
    /// reverse-path too.
    static func withEmptyValues(_ words: [String]) -> [String] {
        guard [configuration.commandName, JudgeCommand.configuration.commandName].contains(words.first) else {
            return words
        }
        var rest = words[...]
        var result: [String] = []
        while let word = rest.popFirst() {
            switch word {
            case "--sender=", "--helo=": result += [String(word.dropLast()), ""]
            case "--sender", "--helo": result += [word] + [rest.popFirst()].compactMap(\.self)  // its value, untouched
            default: result.append(word)
            }
        }
        return result
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let log = NoteCollector()
        // Whoever names the server needs no configuration, not even a right one.
        let loaded =
            try options.resolver == nil
            ? options.configurationIfAny(for: .dns, in: surroundings) : LoadedConfiguration()
        let resolver = try options.resolver(loaded)
        let dns: any DNSAnswering = surroundings.dns(resolver, log)
        let finding = SPFJudge.checkMailFrom(
            Array(sender.utf8), client: client, helo: Array(helo.utf8), receiver: loaded.configuration?.host.name,
            dns: dns, now: surroundings.now())
        let notes = loaded.notes + log.notes(on: resolver)
        let status = Self.status(finding.result)
        guard !options.json else { return CommandOutput(json: Self.json(finding), notes: notes, status: status) }
        return CommandOutput(text: Self.line(finding) + "\n", notes: notes, status: status)
    }

    private static func status(_ result: SPFResult) -> ExitStatus {
        switch result {
        case .none, .neutral, .pass, .softfail: .done
        case .fail, .permerror: .negative
        case .temperror: .unavailable
        }
    }

    private static func line(_ finding: SPFFinding) -> String {
        var words = ["\(finding.result.rawValue) (\(finding.reason))"]
        if let domain = finding.domain { words.append("domain=\(domain)") }
        if let mechanism = finding.mechanism { words.append("mechanism=\(JSONLine.quoted(mechanism))") }
        words.append("lookups=\(finding.lookups)")
        if finding.chain.count > 1 {
            let way = finding.chain.map(\.description).joined(separator: ", ")
            words.append("way=\(JSONLine.quoted(way))")
        }
        if let explanation = finding.explanation { words.append("explanation=\(JSONLine.quoted(explanation))") }
        return words.joined(separator: " ")
    }

    /// Every member is always there.
    private static func json(_ finding: SPFFinding) -> JSONValue {
        [
            "result": .text(finding.result.rawValue), "explanation": .optional(finding.explanation),
            "mechanism": .optional(finding.mechanism), "lookups": .number(finding.lookups),
            "reason": .text("\(finding.reason)"),
        ]
    }
}
