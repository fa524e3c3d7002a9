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
        usage: """
            postern spf [<options>] --client <ip> --helo <name> --sender <sender>
            postern spf [<options>] --lint <domain>
            """,
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

            --engine libspf2 asks Debian's libspf2 for a second opinion. It departs from RFC 7208 in known ways, has \
            known memory bugs, and knows neither mechanism nor look-ups (null); no daemon uses it.

            --lint follows the record of <domain> with all that it includes and redirects to, counts the terms that \
            need DNS (at most 10 in all) and those for which DNS has nothing (at most 2), and names what is wrong: an \
            error makes the result permerror, a warning is worth a look. --json prints permerror, lookups, void_lookups \
            and, for each record, its problems with their terms.

            EXAMPLES
              postern spf --client 192.0.2.1 --helo mx.example.com --sender ann@example.com
              postern spf --lint example.com
              postern spf --client 2001:db8::1 --helo mx.example.com --sender ""
              postern spf --resolver 9.9.9.9 --json --client 192.0.2.1 \\
                  --helo mx.example.com --sender ann@example.com | jq -r .result

            EXIT STATUS
              0   judged: pass, neutral, softfail or none; --lint: no errors
              1   fail, or the domain's records are wrong (permerror); --lint: errors,
                  or no record
              64  the command line is wrong
              69  DNS could not tell (temperror)
              78  the configuration is wrong

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @Option(
        help: ArgumentHelp("The address of the client, IPv4 or IPv6.", valueName: "ip"),
        transform: { text in try IPAddress(argument: text) })
    var client: IPAddress?
    // `unconditional`: what begins with a hyphen is judged too.
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("The name that the client gives in HELO or EHLO.", valueName: "name"))
    var helo: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("The address of MAIL FROM, without angle brackets.", valueName: "sender"))
    var sender: String?
    @Option(help: "Who judges: postern or libspf2.") var engine = Engine.postern
    @Option(
        help: ArgumentHelp("Look for mistakes in the record of this domain.", valueName: "domain"),
        transform: { text in
            do throws(DomainNameError) { return try DomainName(text: Array(text.utf8)) } catch {
                throw ValidationError("expected a domain name, found \"\(LogText.escaped(text.utf8))\", \(error)")
            }
        })
    var lint: DomainName?

    enum Engine: String, ExpressibleByArgument, CaseIterable {
        case postern, libspf2
    }

    /// A transaction to judge.
    private typealias Transaction = (client: IPAddress, helo: [UInt8], sender: [UInt8])

    private var transaction: Transaction? {
        guard let client, let helo, let sender else { return nil }
        return (client, Array(helo.utf8), Array(sender.utf8))
    }

    func validate() throws {
        if lint == nil, transaction == nil {
            throw ValidationError("expected --client, --helo and --sender, or --lint, found less")
        }
        if lint != nil, client != nil || helo != nil || sender != nil || engine != .postern {
            throw ValidationError("expected --lint alone, found it with --client, --helo, --sender or --engine")
        }
    }

    /// The words with `--sender=` as `--sender` and an empty word, and `--helo=` likewise: ArgumentParser takes an empty
    /// value behind "=" for none and the next word for the value, and a script writes `--sender="$sender"` for the null
    /// reverse-path too.
    static func withEmptyValues(_ words: [String]) -> [String] {
        let commands = [configuration, JudgeCommand.configuration, ExplainCommand.configuration].map(\.commandName)
        guard commands.contains(words.first) else { return words }
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
        let (loaded, resolver) = try options.resolving(in: surroundings)
        let dns: any DNSAnswering = surroundings.dns(resolver, log)
        let output = try output(dns, receiver: loaded.configuration?.host.name, now: surroundings.now())
        return CommandOutput(
            octets: output.octets, notes: loaded.notes + log.notes(on: resolver), status: output.status)
    }

    private func output(
        _ dns: any DNSAnswering, receiver: DomainName?, now: UnixTime
    ) throws(CommandFailure) -> CommandOutput {
        if let lint {
            let report = SPFLint(of: lint, dns: dns)
            let status: ExitStatus =
                report.isPermerror
                ? .negative : report.isIncomplete ? .unavailable : report.hasRecord ? .done : .negative
            return options.json
                ? CommandOutput(json: report.json, status: status) : CommandOutput(text: report.lines, status: status)
        }
        guard let (client, helo, sender) = transaction else {
            throw CommandFailure(.usage, "expected --client, --helo and --sender, or --lint, found less")
        }
        switch engine {
        case .postern:
            let finding = SPFJudge.checkMailFrom(
                sender, client: client, helo: helo, receiver: receiver, dns: dns, now: now)
            let status = Self.status(finding.result)
            return options.json
                ? CommandOutput(json: Self.json(finding), status: status)
                : CommandOutput(text: Self.line(finding) + "\n", status: status)
        case .libspf2:
            let opinion = SecondOpinion(sender: sender, client: client, helo: helo, receiver: receiver, dns: dns)
            let status = Self.status(opinion.result)
            guard !options.json else { return CommandOutput(json: Self.json(opinion), status: status) }
            let words = opinion.explanation.map { " explanation=\(JSONLine.quoted($0))" } ?? ""
            return CommandOutput(text: "\(opinion.result.rawValue) (\(opinion.reason))\(words)\n", status: status)
        }
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

    /// The library tells neither the mechanism nor its look-ups.
    private static func json(_ opinion: SecondOpinion) -> JSONValue {
        [
            "result": .text(opinion.result.rawValue), "explanation": .optional(opinion.explanation),
            "mechanism": .null, "lookups": .null, "reason": .text(opinion.reason),
        ]
    }
}
