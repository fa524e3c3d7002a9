// `postern explain`: what postern-policy would answer to one recipient, and every rule and check on the way there. The
// daemon itself is asked, since greylisting's memory and the lists' health are its own; while it is down, or where
// another DNS server is named, the same judge runs here, without that memory.

internal import ArgumentParser
internal import PosternAdmission
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

struct ExplainCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Explains what postern-policy would answer about a client and a recipient.",
        usage: """
            postern explain [<options>] --client <ip> --helo <name> --sender <sender>
                --recipient <recipient> [--client-name <name>]
                [--sasl-username <login>]
            """,
        discussion: """
            Prints the action, then every rule and check in order: what came of it, its score, why, and the DNS \
            questions it asked with their answers. Nothing is written: no triplet begins to wait or is confirmed.
              reject: 550 5.7.1 No spam (rule no spam)
                rule partner  not_matched  client 192.0.2.7 matches none of …
                rule no spam  matched      reject 550 5.7.1 No spam: sender …

            postern-policy is asked over its control socket, so this is what it would do now, with the configuration \
            that it has loaded. If it does not run, or with --resolver, the same is found out here with <file>'s \
            configuration, but without what greylisting remembers.

            --attribute sets any other attribute of Postfix's protocol (SMTPD_POLICY_README), such as size=1000000 or \
            encryption_protocol=TLSv1.3. A client without --client-name is one whose name is not known.

            With --json, one object on one line; answer is null where a check has none, and shadow is true for one \
            that only observes:
              {"action":"reject","text":…,"score":0,"checks":[{"check":"rule partner",
              "outcome":"not_matched","reason":…,"score":0,"answer":null,
              "shadow":false,"exchanges":[]}]}
            The action is pass, reject, defer, hold, prepend, filter, redirect or bcc, or shadow where host.shadow \
            withholds it.

            EXAMPLES
              postern explain --client 192.0.2.7 --helo mx.example.net \\
                  --sender ann@example.net --recipient bo@example.com
              postern explain --json --client 2001:db8::7 --client-name mx.example.net \\
                  --helo mx.example.net --sender "" --recipient bo@example.com

            EXIT STATUS
              0   explained; mail would go on
              1   explained; it would be refused, deferred or held
              64  the command line is wrong
              69  postern-policy runs and does not answer
              78  the configuration is wrong

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments
    @OptionGroup var transaction: JudgedTransaction
    @Option(parsing: .unconditional, help: ArgumentHelp("The address of RCPT TO, without angle brackets."))
    var recipient: String
    @Option(help: ArgumentHelp("The client's verified name.", valueName: "name")) var clientName = "unknown"
    @Option(help: ArgumentHelp("The login of a client that has one.", valueName: "login")) var saslUsername: String?
    @Option(
        help: ArgumentHelp("When Postfix asks: RCPT, DATA, END-OF-MESSAGE …", valueName: "stage"),
        transform: { text in
            guard let stage = PolicyStage(rawValue: text.uppercased()) else {
                throw ValidationError("expected a stage such as RCPT, found \"\(LogText.escaped(text.utf8))\"")
            }
            return stage
        })
    var stage = PolicyStage.rcpt
    @Option(
        help: ArgumentHelp("Another attribute of the request; may be repeated.", valueName: "name=value"),
        transform: { text in try ExplainCommand.attribute(text) })
    var attribute: [Attribute] = []

    typealias Attribute = (PolicyAttribute, String)

    /// A judge has its whole time for DNS, and the daemon may be busy.
    private static let silence = Duration.seconds(20)

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let (document, notes) = try explained(in: surroundings)
        let status: ExitStatus = ["reject", "defer", "hold"].contains(document["action"]?.text) ? .negative : .done
        guard !options.json else { return CommandOutput(json: JSONValue(document), notes: notes, status: status) }
        return CommandOutput(text: ExplanationText.text(document), notes: notes, status: status)
    }

    private func explained(
        in surroundings: Surroundings
    ) throws(CommandFailure) -> (ControlDocument, notes: [String]) {
        guard options.resolver == nil else { return try explainedHere(in: surroundings, notes: []) }
        let asked = DaemonControl(options, place)
        var found: ControlDocument?
        let answer = asked.read(.policy, command, silence: Self.silence) { document in
            found = document
            return true
        }
        switch answer {
        case .document:
            guard let found, found["action"]?.text != nil else {
                throw CommandFailure(.unavailable, "postern-policy: expected an explanation, found something else")
            }
            return (found, asked.notes)
        case .failed(let text): throw CommandFailure(.unavailable, "postern-policy: \(text)")
        case .notRunning:
            return try explainedHere(in: surroundings, notes: ["warning: postern-policy does not run"])
        }
    }

    private func explainedHere(
        in surroundings: Surroundings, notes: [String]
    ) throws(CommandFailure) -> (ControlDocument, notes: [String]) {
        let loaded = try options.configurationIfAny(for: .policy, in: surroundings)
        let configuration: Configuration
        if let read = loaded.configuration { configuration = read } else { configuration = try .ofDefaults() }
        let resolver = try options.resolver(loaded)
        let log = NoteCollector()
        let request: PolicyRequest
        do throws(ControlRefusal) { request = try PolicyRequest(command) } catch {
            throw CommandFailure(.usage, "\(error)")
        }
        let verdict: PolicyVerdict
        do throws(ExpressionError) {
            let health = DNSBLHealth(configuration.dnsbl.lists)
            health.probe(now: surroundings.now()) { surroundings.dns(resolver, log) }
            let judge = try PolicyJudge(configuration, ledger: NoMemory(), health: health)
            var facts = InstanceFacts()
            verdict = judge.verdict(
                on: request, at: .local(surroundings.now()), facts: &facts, dns: surroundings.dns(resolver, log),
                telling: .everything)
        } catch {
            throw CommandFailure(.badConfiguration, "rules: \(error)")
        }
        let memory = configuration.mayGreylist ? ["warning: explained without what greylisting remembers"] : []
        return (verdict.document, loaded.notes + notes + memory + log.notes(on: resolver))
    }

    private var command: ControlCommand {
        let isKnown = clientName != "unknown"
        var attributes: [Attribute] = [
            (.request, "smtpd_access_policy"), (.protocolName, "ESMTP"), (.clientAddress, "\(transaction.client)"),
            (.clientName, clientName), (.reverseClientName, isKnown ? clientName : "unknown"),
            (.heloName, transaction.helo), (.sender, transaction.sender), (.recipient, recipient),
        ]
        if let saslUsername { attributes.append((.saslUsername, saslUsername)) }
        // The last word on an attribute is the command line's own.
        attributes.removeAll { own in attribute.contains { $0.0 == own.0 } }
        return .explain(stage: stage, attributes + attribute)
    }

    private static func attribute(_ text: String) throws(ValidationError) -> Attribute {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard let name = parts.first, let value = parts.dropFirst().first,
            let attribute = PolicyAttribute.allCases.first(where: { $0.name == name }), attribute != .protocolState
        else {
            throw ValidationError(
                "expected an attribute such as size=1000000, found \"\(LogText.escaped(text.utf8))\"")
        }
        return (attribute, String(value))
    }
}

/// A greylist that has seen nobody yet.
private struct NoMemory: GreylistLedger {
    func decide(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer {
        foresee(request, times: times, now: now)
    }
    func foresee(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer {
        GreylistDecision.make(for: request, times: times, now: now) { _ in nil }.answer
    }
    func entries(
        withPrefix prefix: String, after: GreylistCursor?, limit: Int
    ) throws(GreylistUnavailable) -> GreylistPage { GreylistPage(rows: [], next: nil) }
    func entry(for key: GreylistKey) throws(GreylistUnavailable) -> GreylistEntry? { nil }
    func allow(_ key: GreylistKey, now: UnixTime) throws(GreylistUnavailable) {}
    func forget(_ key: GreylistKey) throws(GreylistUnavailable) -> Int { 0 }
    func counts() throws(GreylistUnavailable) -> GreylistCounts { GreylistCounts() }
}
