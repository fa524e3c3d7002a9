// `postern explain`: what postern-policy and postern-rate would answer to one recipient, and every rule, check and limit
// on the way there. The daemons themselves are asked, since greylisting's memory, the lists' health and what limits have
// counted are theirs; while one is down, or where another DNS server is named, the same judge runs here, without that.

internal import ArgumentParser
internal import PosternAdmission
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

struct ExplainCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Explains what Postfix would be answered about a client and a recipient.",
        usage: """
            postern explain [<options>] --client <ip> --helo <name> --sender <sender>
                --recipient <recipient> [--client-name <name>]
                [--sasl-username <login>] [--size <octets>] [--stage <stage>]
                [--recipient-count <number>]
            """,
        discussion: """
            Prints the action, then every rule, check and limit in order: what came of it, its score, why, and the DNS \
            questions it asked with their answers. Nothing is written: no triplet begins to wait or is confirmed, and \
            no limit is charged.
              reject: 550 5.7.1 No spam (rule no spam)
                rule partner       not_matched  client 192.0.2.7 matches none of …
                rule no spam       matched      reject 550 5.7.1 No spam: sender …
                limit per account  skipped      sasl_username is not known

            postern-policy and postern-rate are asked over their control sockets, so this is what they would do now, \
            with the configuration that they have loaded. For one that does not run, and for postern-policy with \
            --resolver, the same is found out here with <file>'s configuration, but without what greylisting remembers \
            and limits have counted. A refusal of either is the action; where main.cf asks for them is not looked at.

            A limit passes, is over, or is skipped, with its key, what is used of what each span allows, and when what \
            is asked would be let in. Recipients are counted one by one at RCPT, and sizes as announced; --stage \
            END-OF-MESSAGE with --size and --recipient-count asks for a whole message.

            --attribute sets any other attribute of Postfix's protocol (SMTPD_POLICY_README), such as \
            encryption_protocol=TLSv1.3. A client without --client-name is one whose name is not known.

            With --json, one object on one line; answer is null where a check has none, and shadow is true for one \
            that only observes:
              {"action":"reject","text":…,"score":0,"checks":[{"check":"rule partner",
              "outcome":"not_matched","reason":…,"score":0,"answer":null,
              "shadow":false,"exchanges":[]}]}
            The check of a limit has four members more, null where it is skipped; free_seconds is null too for what is \
            never let in:
              {"check":"limit per account",…,"key":"ann","uses":[{"used":200,
              "allowed":200,"seconds":3600}],"reserved":0,"free_seconds":35}
            The action is pass, reject, defer, hold, prepend, filter, redirect or bcc, or shadow where host.shadow \
            withholds it.

            EXAMPLES
              postern explain --client 192.0.2.7 --helo mx.example.net \\
                  --sender ann@example.net --recipient bo@example.com
              postern explain --json --client 2001:db8::7 --client-name mx.example.net \\
                  --helo mx.example.net --sender "" --recipient bo@example.com
              postern explain --client 192.0.2.7 --helo laptop --sender ann@example.org \\
                  --recipient bo@example.com --sasl-username ann \\
                  --stage end-of-message --recipient-count 50 --size 20000

            EXIT STATUS
              0   explained; mail would go on
              1   explained; it would be refused, deferred or held
              64  the command line is wrong
              69  postern-policy or postern-rate runs and does not answer
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
    @Option(help: ArgumentHelp("The message's size: as announced, or at its end.", valueName: "octets"))
    var size: UInt?
    @Option(help: ArgumentHelp("Recipients of the message, as known from DATA on.", valueName: "number"))
    var recipientCount: UInt?
    @Option(help: ArgumentHelp("What main.cf or master.cf gives as policy_context.", valueName: "text"))
    var policyContext: String?
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
        let policy = try explained(in: surroundings)
        let limits = try LimitExplanation(options, place).document(command(forLimits: true), in: surroundings)
        let document = Explanation.joined(policy.document, limits.document)
        // Both may have read the same configuration.
        let notes = policy.notes + limits.notes.filter { !policy.notes.contains($0) }
        let status: ExitStatus = ["reject", "defer", "hold"].contains(document["action"]?.text) ? .negative : .done
        return options.output(
            ExplanationText.text(document), json: JSONValue(document), notes: notes, status: status)
    }

    private func explained(
        in surroundings: Surroundings
    ) throws(CommandFailure) -> (document: ControlDocument, notes: [String]) {
        guard options.resolver == nil else { return try explainedHere(in: surroundings, notes: []) }
        let asked = DaemonControl(options, place)
        var found: ControlDocument?
        let answer = asked.read(.policy, command(), silence: Self.silence) { document in
            found = document
            return true
        }
        if case .notRunning = answer {
            return try explainedHere(in: surroundings, notes: ["warning: postern-policy does not run"])
        }
        _ = try asked.taken(answer, of: .policy)
        guard let found, found["action"]?.text != nil else { throw asked.unexpected("an explanation", of: .policy) }
        return (found, asked.notes)
    }

    private func explainedHere(
        in surroundings: Surroundings, notes: [String]
    ) throws(CommandFailure) -> (document: ControlDocument, notes: [String]) {
        let loaded = try options.configurationIfAny(for: .policy, in: surroundings)
        let configuration: Configuration
        if let read = loaded.configuration { configuration = read } else { configuration = try .ofDefaults() }
        let resolver = try options.resolver(loaded)
        let log = NoteCollector()
        let request = try PolicyRequest(explained: command())
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

    /// - Parameter forLimits: as of a message and a connection that nothing was counted for yet.
    private func command(forLimits: Bool = false) -> ControlCommand {
        let isKnown = clientName != "unknown"
        var attributes: [Attribute] = [
            (.request, "smtpd_access_policy"), (.protocolName, "ESMTP"), (.clientAddress, "\(transaction.client)"),
            (.clientName, clientName), (.reverseClientName, isKnown ? clientName : "unknown"),
            (.heloName, transaction.helo), (.sender, transaction.sender), (.recipient, recipient),
        ]
        // Postfix's own instances are numbers, and clients' ports are none of the first.
        if forLimits { attributes += [(.instance, "explain"), (.clientPort, "1")] }
        if let saslUsername { attributes.append((.saslUsername, saslUsername)) }
        if let size { attributes.append((.size, "\(size)")) }
        if let recipientCount { attributes.append((.recipientCount, "\(recipientCount)")) }
        if let policyContext { attributes.append((.policyContext, policyContext)) }
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
